"""The network architectures that a bundle's card can name, and the intensities they expect.

Every network takes raw crops, shape (batch, slices, height, width), in any linear
intensity scale, and standardises them itself: what ships with the weights cannot be
forgotten. Several slices are neighbours, the one that counts in the middle.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.models.registry import unknown
from worker.models.seam import NetworkKind

BACKBONE: Final = "tf_efficientnet_lite0"
"""The default backbone; any backbone of timm can be used."""

STRIDES: Final = [4, 8, 16, 32]
"""The reductions of the feature maps that a pyramid merges."""

_BUILD_ERRORS: Final = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError),
    *(TypeError, ValueError),
)
"""What timm and torch raise for a backbone or an option that does not fit."""


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


class HeatmapPyramid(nn.Module):
    """A feature pyramid that draws one heatmap per head, at a quarter of the size.

    `forward` takes (batch, 1, height, width) with sides divisible by 32 and returns
    logits (batch, heads, height / 4, width / 4).
    """

    def __init__(self, heads: int, backbone: str = BACKBONE, width: int = 64) -> None:
        super().__init__()
        self.encoder = timm.create_model(
            backbone, pretrained=False, in_chans=1, features_only=True, out_indices=(1, 2, 3, 4)
        )
        information: Any = self.encoder.feature_info
        if information.reduction() != STRIDES:
            raise ValueError(f"{backbone} has no feature maps at strides 4, 8, 16 and 32")
        channels: list[int] = information.channels()
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.smooth = nn.ModuleList(_smoothing(width) for _ in channels)
        self.head = nn.Conv2d(width, heads, 1)
        # Start from "nothing here": almost every pixel of a heatmap is background.
        nn.init.constant_(self.head.bias, -4.0)  # type: ignore[arg-type]

    def forward(self, crops: Tensor) -> Tensor:
        """Return the logits of every head's heatmap."""
        maps = self.encoder(standardise(crops))
        merged: Tensor | None = None
        for feature, lateral, smooth in reversed(
            list(zip(maps, self.lateral, self.smooth, strict=True))
        ):
            current = lateral(feature)
            if merged is not None:
                enlarged = functional.interpolate(merged, scale_factor=2.0, mode="nearest")
                current = current + enlarged
            merged = smooth(current)
        logits: Tensor = self.head(merged)
        return logits


def _smoothing(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


class CropClassifier(nn.Module):
    """A classifier of a crop with three severities per head.

    `forward` takes (batch, slices, height, width) and returns logits (batch, heads, 3)
    in the order Normal/Mild, Moderate, Severe. With `slices` 1 the middle slice is used, however
    many there are.
    """

    def __init__(
        self, heads: int, backbone: str = BACKBONE, slices: int = 1, dropout: float = 0.3
    ) -> None:
        super().__init__()
        if slices < 1:
            raise ValueError(f"slices must be at least 1, not {slices}")
        self.heads, self.slices = heads, slices
        self.encoder = timm.create_model(backbone, pretrained=False, in_chans=slices, num_classes=0)
        self.dropout = nn.Dropout(dropout)
        features: int = self.encoder.num_features  # type: ignore[assignment]
        self.head = nn.Linear(features, heads * 3)

    def forward(self, crops: Tensor) -> Tensor:
        """Return the logits of every head's three severities."""
        return self.classify(standardise(crops))

    def classify(self, standard: Tensor) -> Tensor:
        """The same for crops that are standardised already, and mixed in training."""
        features = self.encoder(middle(standard) if self.slices == 1 else standard)
        logits: Tensor = self.head(self.dropout(features))
        return logits.view(-1, self.heads, 3)


@dataclass(frozen=True)
class Architecture:
    """How a network is built, and what kind of output it has.

    `build` takes the number of heads and keyword arguments.
    """

    kind: NetworkKind
    build: Callable[..., nn.Module]

    @property
    def options(self) -> list[str]:
        """The keyword arguments that `build` takes."""
        return [name for name in inspect.signature(self.build).parameters if name != "heads"]


ARCHITECTURES: Final[dict[str, Architecture]] = {
    "heatmap_pyramid": Architecture(NetworkKind.POINTS, HeatmapPyramid),
    "crop_classifier": Architecture(NetworkKind.GRADES, CropClassifier),
}
"""Every architecture by the name that a card or a recipe uses."""


def build_network(architecture: str, heads: int, kwargs: Mapping[str, Any]) -> nn.Module:
    """A network with random weights; raises ValueError that says what is wrong."""
    if architecture not in ARCHITECTURES:
        raise ValueError(unknown("architecture", architecture, ARCHITECTURES))
    known = ARCHITECTURES[architecture]
    for name in kwargs:
        if name not in known.options:
            raise ValueError(f"{architecture}: {unknown('option', name, known.options)}")
    backbone = kwargs.get("backbone", BACKBONE)
    if not isinstance(backbone, str) or not timm.is_model(backbone):
        raise ValueError(unknown("backbone", str(backbone), _similar(backbone)))
    try:
        return known.build(heads, **kwargs)
    except _BUILD_ERRORS as error:
        raise ValueError(f"{architecture} cannot be built with {dict(kwargs)}: {error}") from error


def _similar(backbone: object) -> list[str]:
    """Some of timm's models with a similar name; there are more than a thousand."""
    stem = str(backbone)[:6]
    return list(timm.list_models(f"*{stem}*"))[:8] or [BACKBONE]
