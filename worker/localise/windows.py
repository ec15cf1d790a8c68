"""What part of a slice each detector sees, and the names of the points it draws."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from dicom_sr.findings import Level
from worker.domain.crop import Grid, Window

SAGITTAL_SHAPE: Final = (256, 256)
AXIAL_SHAPE: Final = (96, 128)
AXIAL_WIDTH_MM: Final = 64.0
AXIAL_SPANS: Final = 3.44
"""Width of the axial detector's window in recess spans, where there are no millimetres."""


class Structure(StrEnum):
    """What a sagittal point marks, one for each disc level."""

    DISC = "disc"
    CANAL = "canal"
    FORAMEN = "foramen"


OFFSET_MM: Final = (-5.0, 5.0)
"""Where a foramen lies from the canal's middle at its disc: (to the back, to the head)."""

SAGITTAL_POINTS: Final[tuple[tuple[Structure, Level], ...]] = tuple(
    (structure, level) for structure in Structure for level in Level
)
"""The heatmaps of the sagittal detector, in order."""


class AxialPoint(StrEnum):
    """What an axial point marks; left and right are the patient's."""

    CANAL = "canal"
    LEFT_RECESS = "left_recess"
    RIGHT_RECESS = "right_recess"


AXIAL_POINTS: Final[tuple[AxialPoint, ...]] = tuple(AxialPoint)
"""The heatmaps of the axial detector, in order."""


def channels(structure: Structure) -> slice:
    """The heatmaps of one structure among those of the sagittal detector."""
    first = SAGITTAL_POINTS.index((structure, Level.L1_L2))
    return slice(first, first + len(Level))


def whole_window(rows: int, columns: int, grid: Grid) -> Window:
    """The window around a whole slice, square in physical size."""
    side = max(columns * grid.column_spacing, rows * grid.row_spacing)
    return grid.window((columns - 1) / 2, (rows - 1) / 2, side, side)


def canal_window(column: float, row: float, width: float, grid: Grid) -> Window:
    """The window in which the canal is looked for on an axial slice, around a first guess.

    `width` is in the grid's unit.
    """
    return grid.window(column, row, width, width * AXIAL_SHAPE[0] / AXIAL_SHAPE[1])
