"""What part of a slice each grader sees: sizes follow the patient, not the matrix.

Training pictures have no millimetres, so sizes are measured in distances that picture
and DICOM share: the spacing of the levels for the foramina, and the span between the two
lateral recesses for the axial crops.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from dicom_sr.findings import Level
from worker.domain.crop import Grid, Window
from worker.models.seam import StrategyOptions, ascending

FORAMINAL_SHAPE: Final = (80, 80)
AXIAL_SHAPE: Final = (80, 112)

Positive = Annotated[float, Field(gt=0, le=1000)]
Depth = Annotated[float, Field(ge=0, le=10)]
Depths = tuple[Depth, Depth, Depth, Depth, Depth]


def strictly_ascending(depths: Depths) -> Depths:
    """The depths of the levels; raises ValueError when a level does not lie below the one above."""
    if any(below <= above for above, below in itertools.pairwise(depths)):
        raise ValueError("each level must lie below the one above it")
    return depths


class CropOptions(StrategyOptions):
    """The size of the crops and how they are graded.

    Names ending in `_mm` are millimetres in the patient; `_spacings` are level spacings,
    `_spans` distances between the lateral recesses.
    """

    foraminal_spacings: Positive = Field(
        default=2.0, description="side of the foraminal crop (60 mm)"
    )
    axial_spans: Positive = Field(default=3.0, description="width of the axial crop (56 mm)")
    nominal_spacing_mm: Positive = Field(
        default=30.0, description="level spacing where none is known"
    )
    nominal_span_mm: Positive = Field(
        default=18.6, description="usual distance between the recesses"
    )
    span_limits: Annotated[tuple[Positive, Positive], AfterValidator(ascending)] = Field(
        default=(0.8, 1.3), description="limits of the span used, in nominal spans"
    )
    level_depths: Annotated[Depths, AfterValidator(strictly_ascending)] = Field(
        default=(0.0, 1.022, 2.069, 3.061, 4.0),
        description="place of each level below L1/L2 in mean level spacings "
        "(median of 3,094 annotated sides)",
    )
    neighbour_mm: Positive = Field(
        default=4.5, description="distance of the neighbouring slices of a foramen: the usual one"
    )
    view_context: float = Field(
        default=1.075,
        ge=1,
        le=2,
        description="crops are cut this much wider and graded from five views",
    )

    def level_spacing(self, points: Mapping[Level, NDArray[np.float64]]) -> float | None:
        """The mean distance between neighbouring levels, in the unit of the points.

        Each point has shape (2,) or (3,). The median over all pairs of levels, so that one
        misplaced level moves it little; None with fewer than two levels.
        """
        depth = dict(zip(Level, self.level_depths, strict=True))
        estimates = [
            float(np.linalg.norm(points[a] - points[b])) / (depth[b] - depth[a])
            for a, b in itertools.combinations(sorted(points, key=depth.__getitem__), 2)
        ]
        return float(np.median(estimates)) if estimates else None

    def foraminal_window(
        self, column: float, row: float, spacing: float, grid: Grid, context: float = 1.0
    ) -> Window:
        """The window around a foramen on a sagittal slice.

        `spacing` is the level spacing, in the grid's unit. `context` above 1 widens it, for
        training samples that will be moved.
        """
        side = self.foraminal_spacings * spacing * context
        return grid.window(column, row, side, side)

    def axial_window(
        self, column: float, row: float, span: float, grid: Grid, context: float = 1.0
    ) -> Window:
        """The window around the canal on an axial slice; `span` is the recess span.

        Unit and `context` as for `foraminal_window`.
        """
        height, width = AXIAL_SHAPE
        across = self.axial_spans * span * context
        return grid.window(column, row, across, across * height / width)

    def limited_span_mm(self, span_mm: float) -> float:
        """The span within its limits: a misplaced recess must not change the scale too far."""
        low, high = (limit * self.nominal_span_mm for limit in self.span_limits)
        return float(np.clip(span_mm, low, high))


def widened(shape: tuple[int, int], context: float) -> tuple[int, int]:
    """The crop shape (height, width) that keeps the pixel size of a widened window."""
    return round(shape[0] * context), round(shape[1] * context)
