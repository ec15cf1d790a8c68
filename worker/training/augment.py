"""Augmentation as torchvision v2 transforms of whole batches, images and points together.

A batch is (`Image` (batch, slices, rows, columns), `Points` (batch, n, 2), `Mirrored`).
Each sample of it draws its own numbers, and one resampling does crop, shift, scale,
rotation and mirroring, which on two cores costs less than the network's first layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional
from torchvision import tv_tensors
from torchvision.transforms import v2

Range = tuple[float, float]


class Geometry(BaseModel):
    """How far a crop may move: shift in crop pixels (column, row), scale as a factor, degrees."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shift_px: Range = (0.0, 0.0)
    scale: float = 1.0
    rotation_deg: float = 0.0
    mirror: bool = False


class Intensity(BaseModel):
    """How far grey values may move; see the transforms of the same names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gamma: float = 1.5
    shading: float = 0.4
    softness: float = 0.3
    negative: float = 0.0
    noise: float = 0.06


class Points(tv_tensors.TVTensor):
    """Points of a batch, shape (batch, n, 2) as (column, row) in pixels of its images."""


class Mirrored(tv_tensors.TVTensor):
    """Which samples of a batch show left and right exchanged, shape (batch,) bool."""


def batch_of(images: Tensor, points: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """A batch for the transforms: images (batch, rows, columns) or (batch, slices, rows, columns).

    With points (batch, n, 2) or none; none is mirrored yet.
    """
    if images.ndim == 3:
        images = images.unsqueeze(1)
    if points is None:
        points = torch.zeros(len(images), 0, 2, device=images.device)
    mirrored = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    return (
        tv_tensors.Image(images),
        points.as_subclass(Points),
        mirrored.as_subclass(Mirrored),
    )


def augmentation(shape: tuple[int, int], geometry: Geometry, intensity: Intensity) -> v2.Transform:
    """The augmentation of a training batch; crops keep their slices."""
    return v2.Compose(
        [
            Move(shape, geometry),
            Gamma(intensity.gamma),
            Shading(intensity.shading),
            Softness(intensity.softness),
            Negative(intensity.negative),
            Noise(intensity.noise),
        ]
    )


class Move(v2.Transform):
    """Cut a crop of `shape` (height, width) from the centre of each image, moved at random.

    Without a geometry the plain centre is cut. Pixels outside the image are 0.
    """

    def __init__(self, shape: tuple[int, int], geometry: Geometry | None = None) -> None:
        super().__init__()
        self.shape, self.geometry = shape, geometry or Geometry()

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw, for each sample, the matrix from crop offsets to image offsets in pixels."""
        images = _images(flat_inputs)
        count, device, geometry = len(images), images.device, self.geometry
        angle = _uniform(count, device) * math.radians(geometry.rotation_deg)
        scale = torch.exp(_uniform(count, device) * math.log(geometry.scale))
        shift = torch.stack([_uniform(count, device) * s for s in geometry.shift_px], dim=1)
        flip = torch.rand(count, device=device) < (0.5 if geometry.mirror else 0.0)
        mirror = torch.where(flip, -1.0, 1.0)
        cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
        rows = [torch.stack([cos * mirror, -sin], 1), torch.stack([sin * mirror, cos], 1)]
        size = torch.tensor([images.shape[3], images.shape[2]], device=device)
        height, width = self.shape
        return {
            "matrix": torch.stack(rows, 1),
            "from": torch.tensor([(width - 1) / 2, (height - 1) / 2], device=device),
            "to": ((size - 1) / 2 + shift).unsqueeze(1),
            "size": size,
            "flip": flip,
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:  # noqa: ANN401 - torchvision's
        """Move the images and their points; return which samples were mirrored."""
        if isinstance(inpt, Mirrored):
            return (inpt.as_subclass(Tensor) ^ params["flip"]).as_subclass(Mirrored)
        if isinstance(inpt, Points):
            inverse = torch.linalg.inv(params["matrix"]).transpose(1, 2)
            moved = (inpt.as_subclass(Tensor) - params["to"]) @ inverse + params["from"]
            return moved.as_subclass(Points)
        images = inpt.as_subclass(Tensor)
        height, width = self.shape
        ys, xs = torch.meshgrid(
            torch.arange(height, device=images.device, dtype=torch.float32),
            torch.arange(width, device=images.device, dtype=torch.float32),
            indexing="ij",
        )
        offsets = torch.stack([xs, ys], -1).view(-1, 2) - params["from"]
        at = offsets @ params["matrix"].transpose(1, 2) + params["to"]
        grid = ((2 * at + 1) / params["size"] - 1).view(len(images), height, width, 2)
        crops = functional.grid_sample(
            images.float(), grid, padding_mode="zeros", align_corners=False
        )
        return tv_tensors.Image(crops)


class _Intensities(v2.Transform):
    """A transform of grey values alone: points stay where they are."""

    _transformed_types = (tv_tensors.Image,)

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:  # noqa: ANN401 - torchvision's
        """Change crops of shape (batch, slices, height, width)."""
        del params
        return tv_tensors.Image(self.change(inpt.as_subclass(Tensor)))

    def change(self, crops: Tensor) -> Tensor:
        """The changed crops."""
        raise NotImplementedError


class Gamma(_Intensities):
    """Change the contrast: crops are scaled to 0..1 and raised to 1/strength to strength."""

    def change(self, crops: Tensor) -> Tensor:
        """The changed crops."""
        scaled = crops / crops.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
        power = torch.exp(_each(crops, _uniform) * math.log(self.strength))
        return scaled.clamp_min(0) ** power


class Shading(_Intensities):
    """The bias field of a surface coil: brighter towards one side, by up to exp(strength)."""

    def change(self, crops: Tensor) -> Tensor:
        """The changed crops."""
        _, _, height, width = crops.shape
        ys = torch.linspace(-1, 1, height, device=crops.device).view(1, 1, -1, 1)
        xs = torch.linspace(-1, 1, width, device=crops.device).view(1, 1, 1, -1)
        field = _each(crops, _uniform) * ys + _each(crops, _uniform) * xs
        return crops * torch.exp(self.strength * field)


class Softness(_Intensities):
    """A blur between none and that of a 3 x 3 mean, for a share `strength` of the crops."""

    def change(self, crops: Tensor) -> Tensor:
        """The changed crops."""
        soft = functional.avg_pool2d(crops, 3, stride=1, padding=1, count_include_pad=False)
        share = _each(crops, torch.rand) * (_each(crops, torch.rand) < self.strength)
        return crops + share * (soft - crops)


class Negative(_Intensities):
    """Invert a share `strength` of the crops, so that T1 and T2 look alike to the network."""

    def change(self, crops: Tensor) -> Tensor:
        """The changed crops."""
        negative = _each(crops, torch.rand) < self.strength
        return torch.where(negative, crops.amax((1, 2, 3), keepdim=True) - crops, crops)


class Noise(_Intensities):
    """Gaussian noise of a deviation up to `strength` of the brightest grey."""

    def change(self, crops: Tensor) -> Tensor:
        """The changed crops."""
        return crops + _each(crops, torch.rand) * self.strength * torch.randn_like(crops)


def _images(flat_inputs: Sequence[Any]) -> Tensor:
    images: Tensor = next(i for i in flat_inputs if isinstance(i, tv_tensors.Image))
    return images.as_subclass(Tensor)


def _each(crops: Tensor, draw: Any) -> Tensor:  # noqa: ANN401 - torch.rand has many signatures
    """One number for each crop, shape (batch, 1, 1, 1)."""
    drawn: Tensor = draw(len(crops), device=crops.device)
    return drawn.view(-1, 1, 1, 1)


def _uniform(count: int, device: torch.device) -> Tensor:
    """Draw `count` numbers in -1..1."""
    return torch.rand(count, device=device) * 2 - 1
