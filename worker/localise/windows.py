"""What part of a slice each detector sees, and the names of the points it draws."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from dicom_sr.findings import Level
from worker.nouns.crop import Window

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


def whole_window(
    rows: int,
    columns: int,
    pixel: tuple[float, float],
    *,
    flip_columns: bool = False,
    flip_rows: bool = False,
) -> Window:
    """The window around a whole slice, square in physical size.

    `pixel` is the (column, row) spacing in any one unit. Flip a slice whose columns do
    not run to the back or whose rows do not run to the feet.
    """
    side = max(columns * pixel[0], rows * pixel[1])
    return Window(
        (columns - 1) / 2, (rows - 1) / 2, side / pixel[0], side / pixel[1], flip_columns, flip_rows
    )


def canal_window(
    column: float,
    row: float,
    width: float,
    pixel: tuple[float, float],
    *,
    flip_columns: bool = False,
    flip_rows: bool = False,
) -> Window:
    """The window in which the canal is looked for on an axial slice, around a first guess."""
    height = width * AXIAL_SHAPE[0] / AXIAL_SHAPE[1]
    return Window(column, row, width / pixel[0], height / pixel[1], flip_columns, flip_rows)
