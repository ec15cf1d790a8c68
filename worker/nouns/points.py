"""What stage 1 hands to stage 2: places in the patient, each on a slice of a volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import ImagePoint, Level, Side
from worker.nouns.geometry import Vector
from worker.nouns.volume import Volume


@dataclass(frozen=True, eq=False)
class LevelPoint:
    """One anatomical point: which level and side, on which slice, and how sure.

    `column` and `row` are pixels of slice `index` of `volume`; `confidence` in 0..1 is
    the belief that this is that level and that structure.
    """

    level: Level
    side: Side | None
    volume: Volume
    index: int
    column: float
    row: float
    confidence: float

    @property
    def position_mm(self) -> Vector:
        """The patient position, shape (3,) LPS."""
        return self.volume.planes[self.index].to_mm(self.column, self.row)

    @property
    def image_point(self) -> ImagePoint:
        """The point in the published language."""
        return ImagePoint(self.volume.image(self.index), self.column, self.row)


@dataclass(frozen=True, eq=False)
class Crop:
    """A resampled window of one slice and the map back to it.

    `pixels` has shape (height, width), float32, 0..1 after `grade.crops` scaled it.
    `to_image` is the 2 x 3 matrix that takes homogeneous crop pixels (column, row, 1) to
    image pixels (column, row); a mirrored crop has its first diagonal element negative.
    """

    pixels: NDArray[np.float32]
    to_image: NDArray[np.float64]
