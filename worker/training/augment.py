"""Augmentation of whole batches on the device: one resampling for images and points.

Geometry goes first and takes the points along; intensities follow. Batches of uint8
images stay small in memory and one `grid_sample` does crop, shift, scale, rotation and
mirroring together, which on two cores costs less than the network's first layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Geometry:
    """How far a crop may move: shift in crop pixels (column, row), scale as a factor, degrees."""

    shift_px: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    rotation_deg: float = 0.0
    mirror: bool = False


@dataclass(frozen=True)
class Intensity:
    """How far grey values may move; see `shake`."""

    gamma: float = 1.5
    bias: float = 0.4
    noise: float = 0.06
    blur: float = 0.3
    invert: float = 0.0


@dataclass(frozen=True, eq=False)
class Moved:
    """Crops (batch, 1, height, width), points (batch, n, 2) in crop pixels, who was mirrored."""

    crops: Tensor
    points: Tensor
    mirrored: Tensor


def move(
    images: Tensor, points: Tensor, shape: tuple[int, int], geometry: Geometry | None
) -> Moved:
    """Cut a crop of `shape` (height, width) from the centre of each image, moved at random.

    `images` has shape (batch, rows, columns), any type; `points` (batch, n, 2) holds
    (column, row) in image pixels. `geometry` None cuts the plain centre.
    """
    count, rows, columns = images.shape
    height, width = shape
    device = images.device
    angle = torch.zeros(count, device=device)
    scale = torch.ones(count, device=device)
    shift = torch.zeros(count, 2, device=device)
    mirror = torch.ones(count, device=device)
    if geometry is not None:
        angle = _uniform(count, device) * math.radians(geometry.rotation_deg)
        scale = torch.exp(_uniform(count, device) * math.log(geometry.scale))
        shift = torch.stack([_uniform(count, device) * s for s in geometry.shift_px], dim=1)
        if geometry.mirror:
            mirror = torch.where(torch.rand(count, device=device) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    # Offsets from the crop's centre to offsets from the image's centre, both in pixels.
    matrix = torch.stack(
        [torch.stack([cos * mirror, -sin], 1), torch.stack([sin * mirror, cos], 1)], 1
    )
    crop_centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], device=device)
    image_centre = torch.tensor([(columns - 1) / 2, (rows - 1) / 2], device=device)
    ys, xs = torch.meshgrid(
        torch.arange(height, device=device, dtype=torch.float32),
        torch.arange(width, device=device, dtype=torch.float32),
        indexing="ij",
    )
    offsets = torch.stack([xs, ys], -1).view(-1, 2) - crop_centre
    at = offsets @ matrix.transpose(1, 2) + (image_centre + shift).unsqueeze(1)
    grid = (2 * at + 1) / torch.tensor([columns, rows], device=device) - 1
    crops = functional.grid_sample(
        images.unsqueeze(1).float(),
        grid.view(count, height, width, 2),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )
    inverse = torch.linalg.inv(matrix)
    moved = (points - (image_centre + shift).unsqueeze(1)) @ inverse.transpose(1, 2) + crop_centre
    return Moved(crops, moved, mirror < 0)


def shake(crops: Tensor, intensity: Intensity) -> Tensor:
    """Change intensities at random: gamma, coil shading, blur, noise, at times a negative.

    Shape (batch, 1, height, width) in and out; the result is scaled to about 0..1.
    """
    count, _, height, width = crops.shape
    device = crops.device
    top = crops.flatten(1).amax(1).clamp_min(1e-6).view(-1, 1, 1, 1)
    result = crops / top
    gamma = torch.exp(_uniform(count, device) * math.log(intensity.gamma)).view(-1, 1, 1, 1)
    result = result.clamp_min(0) ** gamma
    ys = torch.linspace(-1, 1, height, device=device).view(1, 1, -1, 1)
    xs = torch.linspace(-1, 1, width, device=device).view(1, 1, 1, -1)
    slope = (_uniform(count, device), _uniform(count, device))
    field = slope[0].view(-1, 1, 1, 1) * ys + slope[1].view(-1, 1, 1, 1) * xs
    result = result * torch.exp(intensity.bias * field)
    soft = functional.avg_pool2d(result, 3, stride=1, padding=1, count_include_pad=False)
    share = (torch.rand(count, device=device) < intensity.blur).float().view(-1, 1, 1, 1)
    result = result + share * torch.rand(count, 1, 1, 1, device=device) * (soft - result)
    if intensity.invert:
        negative = (torch.rand(count, device=device) < intensity.invert).view(-1, 1, 1, 1)
        result = torch.where(negative, result.amax((2, 3), keepdim=True) - result, result)
    level = torch.rand(count, 1, 1, 1, device=device) * intensity.noise
    return result + level * torch.randn_like(result)


def _uniform(count: int, device: torch.device) -> Tensor:
    """Draw `count` numbers in -1..1."""
    return torch.rand(count, device=device) * 2 - 1
