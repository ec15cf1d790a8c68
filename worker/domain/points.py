"""What stage 1 hands to stage 2: anatomical points, each on a slice of a volume."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_sr.findings import ImagePoint, Level, Side
from worker.domain.geometry import Vector
from worker.domain.volume import Volume


@dataclass(frozen=True, eq=False)
class LevelPoint:
    """One anatomical point: its level and side, its slice, and its confidence.

    `column` and `row` are pixels of slice `index` of `volume`; `confidence` in 0..1 is
    the probability that this is that level and that structure.
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
        """The point as reports hold it."""
        return ImagePoint(self.volume.image(self.index), self.column, self.row)
