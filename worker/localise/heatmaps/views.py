"""Every slice of a sagittal volume as the network sees it: back on the right, feet below."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from worker.domain.crop import Crop, cut
from worker.domain.volume import Volume
from worker.localise.heatmaps.windows import SAGITTAL, SAGITTAL_SHAPE, whole_window
from worker.models.seam import Runner


@dataclass(frozen=True, eq=False)
class SagittalView:
    """The heatmaps of every slice of a sagittal volume.

    `scores` has shape (slices, points, height, width) in 0..1. All slices share one window,
    so a place in one crop is the same place in every other.
    """

    volume: Volume
    crops: tuple[Crop, ...]
    scores: NDArray[np.float32]

    @property
    def crop(self) -> Crop:
        """The crop of the first slice: its window is that of all."""
        return self.crops[0]

    def x_mm(self, index: int, column: float, row: float) -> float:
        """The patient x of a crop place on one slice."""
        return float(self.volume.planes[index].to_mm(*self.crop.to_image_px(column, row))[0])

    @property
    def mm_per_px(self) -> float:
        """The size of a crop pixel."""
        across_mm, _ = self.volume.planes[0].grid.spacings
        width: int = self.crop.pixels.shape[1]
        return self.crop.window.width_px * across_mm / width


def sagittal_view(volume: Volume, run: Runner) -> SagittalView:
    """Draw the sagittal heatmaps of every slice of a volume, in one batch."""
    plane = volume.planes[0]
    window = whole_window(plane.rows, plane.columns, plane.grid)
    crops = [cut(pixels, window, SAGITTAL_SHAPE) for pixels in volume.pixels]
    batch = torch.from_numpy(np.stack([crop.pixels for crop in crops]))[:, None]
    scores = torch.sigmoid(run.run(SAGITTAL, batch)).numpy()
    return SagittalView(volume, tuple(crops), scores)
