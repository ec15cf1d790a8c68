"""How a slice is turned before a detector sees it: to the back on the right, feet below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.domain.crop import Crop, cut
from worker.domain.volume import Volume
from worker.localise.windows import SAGITTAL_SHAPE, whole_window

SAGITTAL: Final = "sagittal_points"
"""The network that draws the sagittal heatmaps."""


class Networks(Protocol):
    """What runs networks by name: a bundle, or a stand-in for tests."""

    def run(self, network: str, crops: Tensor) -> Tensor:
        """The logits of one network for crops of shape (batch, 1, height, width)."""
        ...

    def belief(self, network: str, heat: float) -> float:
        """How probably a point with this heat is right, both 0..1."""
        ...


@dataclass(frozen=True, eq=False)
class SagittalView:
    """Every slice of a sagittal volume as the detector saw it, and what it drew.

    `heat` has shape (slices, points, height, width) in 0..1. All slices share one window,
    so a place in one crop is the same place in every other.
    """

    volume: Volume
    crop: Crop
    heat: NDArray[np.float32]

    def x_mm(self, index: int, column: float, row: float) -> float:
        """The patient x of a crop place on one slice."""
        return float(self.volume.planes[index].to_mm(*self.crop.to_image_px(column, row))[0])

    @property
    def mm_per_px(self) -> float:
        """The size of a crop pixel."""
        across_mm, _ = self.volume.planes[0].grid.spacings
        width: int = self.crop.pixels.shape[1]
        return self.crop.window.width_px * across_mm / width


def look_at(volumes: Sequence[Volume], networks: Networks) -> list[SagittalView]:
    """A view of every sagittal volume."""
    return [look(volume, networks) for volume in volumes]


def look(volume: Volume, networks: Networks) -> SagittalView:
    """Draw the sagittal detector's heatmaps on every slice of a volume, in one batch."""
    plane = volume.planes[0]
    window = whole_window(plane.rows, plane.columns, plane.grid)
    crops = [cut(pixels, window, SAGITTAL_SHAPE) for pixels in volume.pixels]
    batch = torch.from_numpy(np.stack([crop.pixels for crop in crops]))[:, None]
    heat = torch.sigmoid(networks.run(SAGITTAL, batch)).numpy()
    return SagittalView(volume, crops[0], heat)
