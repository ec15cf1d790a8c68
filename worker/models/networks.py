"""The network architectures a bundle can name, and the intensities they expect.

Every network takes raw crops, shape (batch, slices, height, width), in any linear
intensity scale, and standardises them itself: what ships with the weights cannot be
forgotten. Several slices are neighbours, the one that counts in the middle.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

BACKBONE: Final = "tf_efficientnet_lite0"


def standardise(crops: Tensor) -> Tensor:
    """Clip crops to the 1st to 99.5th percentile of their middle slice, scaled to about -2..2.

    Shape (batch, slices, height, width), any linear intensity scale, in and out. The same
    anatomy as 12-bit DICOM or as an 8-bit picture comes out alike.
    """
    flat = middle(crops).flatten(1)
    # A quarter of the pixels is enough for a percentile, and sorting them is what costs.
    sample = flat[:, ::4] if flat.shape[1] > 16384 else flat
    edges = torch.quantile(
        sample.float(), torch.tensor([0.01, 0.995], device=crops.device), dim=1
    ).to(crops.dtype)
    low, high = (edge.view(-1, 1, 1, 1) for edge in edges)
    scaled = (crops - low) / (high - low).clamp_min(1e-6)
    standard: Tensor = (scaled.clamp(0, 1) - 0.4) / 0.25
    return standard


def middle(crops: Tensor) -> Tensor:
    """The slice that counts, shape (batch, 1, height, width)."""
    index = crops.shape[1] // 2
    return crops[:, index : index + 1]


class Heatmaps(nn.Module):
    """A feature pyramid that draws one heatmap for each named point, at a quarter of the size.

    `forward` takes (batch, 1, height, width) with sides divisible by 32 and returns
    logits (batch, points, height / 4, width / 4).
    """

    def __init__(self, points: int, width: int = 64) -> None:
        super().__init__()
        self.encoder = timm.create_model(
            BACKBONE, pretrained=False, in_chans=1, features_only=True, out_indices=(1, 2, 3, 4)
        )
        channels: list[int] = self.encoder.feature_info.channels()  # type: ignore[operator,union-attr]
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.smooth = nn.ModuleList(_smoothing(width) for _ in channels)
        self.head = nn.Conv2d(width, points, 1)
        # Start from "nothing here": almost every pixel of a heatmap is background.
        nn.init.constant_(self.head.bias, -4.0)  # type: ignore[arg-type]

    def forward(self, crops: Tensor) -> Tensor:
        """Return the logits of every point's heatmap."""
        maps = self.encoder(standardise(crops))
        merged: Tensor | None = None
        for feature, lateral, smooth in reversed(
            list(zip(maps, self.lateral, self.smooth, strict=True))
        ):
            here = lateral(feature)
            if merged is not None:
                here = here + functional.interpolate(merged, scale_factor=2.0, mode="nearest")
            merged = smooth(here)
        logits: Tensor = self.head(merged)
        return logits


def _smoothing(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


class Grades(nn.Module):
    """A classifier with one three-class head for each named target of the crop.

    `forward` takes (batch, slices, height, width) and returns logits (batch, targets, 3)
    in the order Normal/Mild, Moderate, Severe. A grader of one slice looks at the middle
    one of however many it is given.
    """

    def __init__(self, targets: int, slices: int = 1, dropout: float = 0.3) -> None:
        super().__init__()
        self.targets, self.slices = targets, slices
        self.encoder = timm.create_model(BACKBONE, pretrained=False, in_chans=slices, num_classes=0)
        self.dropout = nn.Dropout(dropout)
        features: int = self.encoder.num_features  # type: ignore[assignment]
        self.head = nn.Linear(features, targets * 3)

    def forward(self, crops: Tensor) -> Tensor:
        """Return the logits of every target's three grades."""
        return self.classify(standardise(crops))

    def classify(self, standard: Tensor) -> Tensor:
        """The same for crops that are standardised already, and mixed in training."""
        features = self.encoder(middle(standard) if self.slices == 1 else standard)
        logits: Tensor = self.head(self.dropout(features))
        return logits.view(-1, self.targets, 3)


DETECTORS: Final[dict[str, Callable[[int], nn.Module]]] = {
    "heatmaps_lite0": Heatmaps,
}
"""Detectors by the name that a bundle's card uses; each takes its number of points."""

GRADERS: Final[dict[str, Callable[[int], nn.Module]]] = {
    "grades_lite0": Grades,
    "grades_lite0_neighbours": partial(Grades, slices=3),
}
"""Graders by the name that a bundle's card uses; each takes its number of targets."""

ARCHITECTURES: Final = DETECTORS | GRADERS
