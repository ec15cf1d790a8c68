"""What part of a slice each network sees, and the names of the points that it draws."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from dicom_sr.findings import Level
from worker.domain.crop import Grid, Window
from worker.models.seam import IMAGENET, NetworkKind, NetworkSpec

SAGITTAL: Final = "sagittal_points"
"""The network that draws discs, canal and foramina on sagittal slices."""
AXIAL: Final = "axial_points"
"""The network that draws canal and recesses on axial slices."""

SAGITTAL_SHAPE: Final = (256, 256)
AXIAL_SHAPE: Final = (96, 128)


class Structure(StrEnum):
    """What a sagittal point marks, one for each disc level."""

    DISC = "disc"
    CANAL = "canal"
    FORAMEN = "foramen"


T1_STRUCTURES: Final = (Structure.FORAMEN,)
T2_STRUCTURES: Final = (Structure.DISC, Structure.CANAL)
"""What names the levels on sagittal T1 and on sagittal T2."""

SAGITTAL_POINTS: Final[tuple[tuple[Structure, Level], ...]] = tuple(
    (structure, level) for structure in Structure for level in Level
)
"""The heatmaps of the sagittal network, in order."""


class AxialPoint(StrEnum):
    """What an axial point marks; left and right are the patient's."""

    CANAL = "canal"
    LEFT_RECESS = "left_recess"
    RIGHT_RECESS = "right_recess"


AXIAL_POINTS: Final[tuple[AxialPoint, ...]] = tuple(AxialPoint)
"""The heatmaps of the axial network, in order."""

NETWORKS: Final[Mapping[str, NetworkSpec]] = MappingProxyType(
    {
        SAGITTAL: NetworkSpec(
            NetworkKind.POINTS,
            heads=tuple(f"{structure} {level}" for structure, level in SAGITTAL_POINTS),
            input_shape=(1, *SAGITTAL_SHAPE),
            samples=SAGITTAL,
            start=IMAGENET,
        ),
        AXIAL: NetworkSpec(
            NetworkKind.POINTS,
            heads=AXIAL_POINTS,
            input_shape=(1, *AXIAL_SHAPE),
            samples=AXIAL,
            start=IMAGENET,
            mirror={
                AxialPoint.LEFT_RECESS: AxialPoint.RIGHT_RECESS,
                AxialPoint.RIGHT_RECESS: AxialPoint.LEFT_RECESS,
            },
        ),
    }
)


def channels(structure: Structure) -> slice:
    """The heatmaps of one structure among those of the sagittal network."""
    first = SAGITTAL_POINTS.index((structure, Level.L1_L2))
    return slice(first, first + len(Level))


def whole_window(rows: int, columns: int, grid: Grid) -> Window:
    """The window around a whole slice, square in physical size."""
    side = max(columns * grid.column_spacing, rows * grid.row_spacing)
    return grid.window((columns - 1) / 2, (rows - 1) / 2, side, side)


def canal_window(column: float, row: float, width: float, grid: Grid) -> Window:
    """The window in which the canal is searched on an axial slice, around a first guess.

    `width` is in the grid's unit.
    """
    return grid.window(column, row, width, width * AXIAL_SHAPE[0] / AXIAL_SHAPE[1])
