"""What part of a slice each grader sees: sizes follow the patient, not the matrix.

Training pictures have no millimetres, so sizes are measured in distances that picture
and DICOM share: the spacing of the levels for the foramina, and the span between the two
lateral recesses for the axial crops.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import Level
from worker.domain.crop import Grid, Window

FORAMINAL_SHAPE: Final = (80, 80)
FORAMINAL_SPACINGS: Final = 2.0
"""Side of the foraminal crop in level spacings: about 60 mm."""

AXIAL_SHAPE: Final = (80, 112)
AXIAL_SPANS: Final = 3.0
"""Width of the axial crop in recess spans: about 56 mm."""


NOMINAL_SPACING_MM: Final = 30.0
NOMINAL_SPAN_MM: Final = 18.6

_DEPTH: Final = dict(zip(Level, (0.0, 1.022, 2.069, 3.061, 4.0), strict=True))
"""Place of each level below L1/L2 in mean level spacings (median of 3,094 annotated sides)."""


def level_spacing(points: Mapping[Level, NDArray[np.float64]]) -> float | None:
    """The mean distance between neighbouring levels, in the unit of the points.

    Each point has shape (2,) or (3,). The median over all pairs of levels, so that one
    misplaced level moves it little; None with fewer than two levels.
    """
    estimates = [
        float(np.linalg.norm(points[a] - points[b])) / (_DEPTH[b] - _DEPTH[a])
        for a, b in itertools.combinations(sorted(points, key=_DEPTH.__getitem__), 2)
    ]
    return float(np.median(estimates)) if estimates else None


def foraminal_window(
    column: float, row: float, spacing: float, grid: Grid, context: float = 1.0
) -> Window:
    """The window around a foramen on a sagittal slice.

    `spacing` is the level spacing, in the grid's unit. `context` above 1 widens it, for
    training samples that will be moved.
    """
    side = FORAMINAL_SPACINGS * spacing * context
    return grid.window(column, row, side, side)


def axial_window(
    column: float, row: float, span: float, grid: Grid, context: float = 1.0
) -> Window:
    """The window around the canal on an axial slice; `span` is the recess span.

    Unit and `context` as for `foraminal_window`.
    """
    height, width = AXIAL_SHAPE
    across = AXIAL_SPANS * span * context
    return grid.window(column, row, across, across * height / width)


def widened(shape: tuple[int, int], context: float) -> tuple[int, int]:
    """The crop shape (height, width) that keeps the pixel size of a widened window."""
    return round(shape[0] * context), round(shape[1] * context)
