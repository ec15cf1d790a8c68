"""The network that segments canal, discs and vertebral bodies, and its input crop."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from worker.domain.crop import Grid, cut

CROP_PX: Final = 96
PIXEL_MM: Final = 2.5
"""So coarse that textures do not reveal the source of an image; the canal is 6 pixels wide."""

STRUCTURES: Final = ("canal", "disc", "vertebra")
"""The channels of the network's output."""

_WIDTHS: Final = (16, 24, 40)
_NEIGHBOURHOOD_PX: Final = 11


def view(pixels: NDArray[np.float32], grid: Grid, size_px: int = CROP_PX) -> NDArray[np.float32]:
    """The middle of a slice in the standard view, shape (size, size), pixels of `PIXEL_MM`.

    `pixels` has shape (rows, columns); `grid` is in millimetres. Outside the slice is 0.
    """
    rows, columns = pixels.shape
    side_mm = size_px * PIXEL_MM
    window = grid.window((columns - 1) / 2, (rows - 1) / 2, side_mm, side_mm)
    return cut(pixels, window, (size_px, size_px)).pixels


class Outlines(nn.Module):
    """A small U-Net; its finest level works on blocks of 2 x 2 pixels.

    `forward` takes crops (batch, 1, height, width) in any linear intensity scale, sides
    divisible by 8, and returns logits (batch, structures, height, width).
    """

    def __init__(self) -> None:
        super().__init__()
        steps = list(pairwise(_WIDTHS))
        self.first = _convolution(2 * 4, _WIDTHS[0])
        self.down = nn.ModuleList(
            nn.Sequential(_convolution(a, b), _convolution(b, b)) for a, b in steps
        )
        self.middle = _convolution(_WIDTHS[-1], _WIDTHS[-1])
        self.up = nn.ModuleList(_convolution(a + b, a) for a, b in reversed(steps))
        self.head = nn.Conv2d(_WIDTHS[0], 4 * len(STRUCTURES), 1)

    def forward(self, crops: Tensor) -> Tensor:
        """Return the logits of every structure's outline."""
        x = self.first(functional.pixel_unshuffle(_standardise(crops), 2))
        kept = [x]
        for down in self.down:
            x = down(functional.max_pool2d(x, 2))
            kept.append(x)
        x = self.middle(kept.pop())
        for up in self.up:
            wider = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = up(torch.cat([wider, kept.pop()], 1))
        return functional.pixel_shuffle(self.head(x), 2)


def outline(network: nn.Module, crops: NDArray[np.float32]) -> NDArray[np.float32]:
    """The probability of each structure at each pixel.

    `crops` has shape (batch, height, width), the result (batch, structures, height, width).
    """
    batch = torch.from_numpy(np.ascontiguousarray(crops))[:, None]
    with torch.inference_mode():
        probabilities: NDArray[np.float32] = torch.sigmoid(network(batch)).numpy()
    return probabilities


def _convolution(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def _standardise(crops: Tensor) -> Tensor:
    """Two channels: the square root of the grey values, and their local deviation."""
    low, high = torch.quantile(crops.flatten(1), torch.tensor([0.02, 0.99]), dim=1).view(
        2, -1, 1, 1, 1
    )
    grey = ((crops - low) / (high - low).clamp_min(1e-6)).clamp(0, 1.5)
    mean, square = _local_mean(grey), _local_mean(grey * grey)
    deviation = (grey - mean) / ((square - mean * mean).clamp_min(0) + 0.02**2).sqrt()
    return torch.cat([grey.clamp_min(1e-6).sqrt() * 2 - 1, deviation.clamp(-3, 3) / 2], 1)


def _local_mean(grey: Tensor) -> Tensor:
    for _ in range(2):
        grey = functional.avg_pool2d(
            grey, _NEIGHBOURHOOD_PX, 1, _NEIGHBOURHOOD_PX // 2, count_include_pad=False
        )
    return grey
