"""Pixels to millimetres and back: the one module that converts between them.

Patient coordinates are LPS in millimetres: +x to the patient's left, +y to the back,
+z to the head (DICOM PS3.3 C.7.6.2.1.1). Pixels are (column, row), 0-based, the centre
of the first pixel at (0, 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from worker.domain.crop import Grid

Vector = NDArray[np.float64]
"""A point or direction in patient space, shape (3,), LPS, millimetres."""

Triple = tuple[float, float, float]


class Orientation(StrEnum):
    """The anatomical plane that a slice lies closest to."""

    SAGITTAL = "sagittal"
    CORONAL = "coronal"
    AXIAL = "axial"


@dataclass(frozen=True)
class Plane:
    """One slice in patient space (DICOM PS3.3 C.7.6.2).

    `along_columns` is the direction in which the column index grows (the first three
    values of ImageOrientationPatient), `along_rows` that in which the row index grows.
    `row_spacing_mm` is the distance between rows (first value of PixelSpacing),
    `column_spacing_mm` that between columns.

    `seen_as` is the anatomical plane of the series that a slice belongs to, None where it is
    the slice's own: a stack angled steeply is shown as its series is.

    Directions are made exactly orthonormal. Raises ValueError when they are farther than
    1 % from it, or a spacing or size is not positive.
    """

    position_mm: Triple
    along_columns: Triple
    along_rows: Triple
    row_spacing_mm: float
    column_spacing_mm: float
    rows: int
    columns: int
    seen_as: Orientation | None = None

    def __post_init__(self) -> None:
        across, down = np.array(self.along_columns), np.array(self.along_rows)
        lengths = math.hypot(*self.along_columns), math.hypot(*self.along_rows)
        # Written so that what is no number fails too; np.allclose takes ten times as long, and
        # a study has thousands of slices.
        if not all(abs(value) <= 1e-2 for value in (lengths[0] - 1, lengths[1] - 1, across @ down)):
            raise ValueError("image orientation is not two perpendicular unit vectors")
        if not all(map(math.isfinite, self.position_mm)):
            raise ValueError("image position is not finite")
        spacings = (self.row_spacing_mm, self.column_spacing_mm)
        if not all(math.isfinite(s) and s > 0 for s in spacings):
            raise ValueError("pixel spacing is not positive")
        if self.rows < 1 or self.columns < 1:
            raise ValueError("the image has no pixels")
        # Headers round directions to a few decimals; both ways of the map need them exact.
        across = across / lengths[0]
        down = down - across * float(across @ down)
        down = down / np.linalg.norm(down)
        for name, exact in (("along_columns", across), ("along_rows", down)):
            if np.abs(exact - getattr(self, name)).max() > 1e-9:
                object.__setattr__(self, name, tuple(exact.tolist()))

    @cached_property
    def normal(self) -> Vector:
        """Unit normal of the slice: columns direction x rows direction, shape (3,)."""
        # np.cross takes ten times as long.
        (a, b, c), (d, e, f) = self.along_columns, self.along_rows
        normal: Vector = np.array([b * f - c * e, c * d - a * f, a * e - b * d])
        return normal / np.linalg.norm(normal)

    @cached_property
    def orientation(self) -> Orientation:
        """The series' plane, else that by the largest component of the normal, however oblique."""
        if self.seen_as is not None:
            return self.seen_as
        axis = int(np.argmax(np.abs(self.normal)))
        return (Orientation.SAGITTAL, Orientation.CORONAL, Orientation.AXIAL)[axis]

    @property
    def offset_mm(self) -> float:
        """Position of the slice along its own normal."""
        return float(self.normal @ np.array(self.position_mm))

    def to_mm(self, column: float, row: float) -> Vector:
        """The patient position of a pixel, shape (3,) LPS (PS3.3 equation C.7.6.2.1-1)."""
        position: Vector = (
            np.array(self.position_mm)
            + np.array(self.along_columns) * self.column_spacing_mm * column
            + np.array(self.along_rows) * self.row_spacing_mm * row
        )
        return position

    @property
    def centre_mm(self) -> Vector:
        """The middle of the slice in patient millimetres."""
        return self.to_mm((self.columns - 1) / 2, (self.rows - 1) / 2)

    def to_px(self, position_mm: Vector) -> tuple[float, float]:
        """The (column, row) of a patient position projected onto the slice."""
        offset = np.asarray(position_mm) - np.array(self.position_mm)
        column = float(offset @ np.array(self.along_columns)) / self.column_spacing_mm
        row = float(offset @ np.array(self.along_rows)) / self.row_spacing_mm
        return column, row

    def distance_mm(self, position_mm: Vector) -> float:
        """Signed distance of a patient position from the slice, along its normal."""
        return float(self.normal @ (np.asarray(position_mm) - np.array(self.position_mm)))

    def contains(self, column: float, row: float) -> bool:
        """Whether a pixel position lies on the image, half a pixel of border included."""
        return -0.5 <= column <= self.columns - 0.5 and -0.5 <= row <= self.rows - 0.5

    @property
    def grid(self) -> Grid:
        """The size of the pixels in millimetres, and which way they run."""
        return Grid(self.column_spacing_mm, self.row_spacing_mm, *self.flips, self.turned)

    @property
    def turned(self) -> bool:
        """Whether the slice lies on its side: its rows run across the usual view, see `flips`."""
        across, down = self._view_axes
        upright = abs(self.along_columns[across]) + abs(self.along_rows[down])
        return abs(self.along_columns[down]) + abs(self.along_rows[across]) > upright

    @property
    def flips(self) -> tuple[bool, bool]:
        """Whether (columns, rows) must be reversed for the usual view of the slice.

        Usual is: patient left to the right, back to the right or below, head above. So
        networks see every patient the same way round, however a slice was stored.
        """
        across, down = self._view_axes
        of_columns, of_rows = (down, across) if self.turned else (across, down)
        return (
            _runs_against_view(self.along_columns, of_columns),
            _runs_against_view(self.along_rows, of_rows),
        )

    @property
    def _view_axes(self) -> tuple[int, int]:
        """The patient axes that run (across, down) the usual view."""
        return {
            Orientation.SAGITTAL: (1, 2),
            Orientation.CORONAL: (0, 2),
            Orientation.AXIAL: (0, 1),
        }[self.orientation]


def _runs_against_view(direction: Triple, axis: int) -> bool:
    # +x (left) and +y (back) grow in the usual view, +z (head) shrinks.
    return (direction[axis] < 0) != (axis == 2)
