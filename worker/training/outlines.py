"""Training of the recogniser's network: segmentation of the spine for any contrast.

It never learns T1 from T2. From SPIDER's masks it learns where canal, discs and bodies lie
while their brightness is drawn at random, each for itself, so that no source, no texture and
no place in the stack can stand for a weighting.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from worker.datasets.discs import (
    CANAL_GREY,
    DISC_GREY,
    VERTEBRA_GREY,
    MaskKind,
    read_masked_slices,
)
from worker.datasets.pictures import read_picture
from worker.errors import BadSettings
from worker.evaluation.recogniser_evaluation import T2_FOLDER, scaled_grid
from worker.recognise.network import CROP_PX, STRUCTURES, Outlines, view

STEPS: Final = 600
BATCH: Final = 16
RATE: Final = 5e-3
CONTEXT_PX: Final = 128
"""Side of a stored sample: wider than the crop, so that it can be moved."""

_GREYS: Final = (CANAL_GREY, DISC_GREY, VERTEBRA_GREY)
_MARROW: Final = STRUCTURES.index("vertebra")


@dataclass(frozen=True, eq=False)
class Samples:
    """Slices (n, 1, rows, columns) in 0..1, soft masks (n, structures, rows, columns), studies."""

    images: Tensor
    masks: Tensor
    studies: tuple[str, ...]


def read_samples(data: Path) -> Samples:
    """SPIDER's slices; raises BadSettings where no mask shows bodies, discs and canal."""
    images, masks, studies = [], [], []
    for item in read_masked_slices(data / T2_FOLDER, needing=tuple(MaskKind)).rows:
        picture = read_picture(item.path)
        with Image.open(item.mask) as image:
            grey = np.asarray(image.convert("L"))
        grid = scaled_grid(item, picture)
        images.append(_unit(view(picture.pixels - picture.pixels.min(), grid, CONTEXT_PX)))
        masks.append([view((grey == g).astype(np.float32), grid, CONTEXT_PX) for g in _GREYS])
        studies.append(item.study_id)
    if not images:
        raise BadSettings(
            f"{data / T2_FOLDER} lists no mask of bodies, discs and canal to learn from"
        )
    return Samples(
        torch.from_numpy(np.stack(images))[:, None],
        torch.from_numpy(np.array(masks, dtype=np.float32)),
        tuple(studies),
    )


def fit(samples: Samples, seed: int = 0, steps: int = STEPS) -> Outlines:
    """Train the network from scratch; the same seed gives the same network on one machine."""
    torch.manual_seed(seed)
    by_study: dict[str, list[int]] = defaultdict(list)
    for index, study in enumerate(samples.studies):
        by_study[study].append(index)
    rng = np.random.default_rng(seed)
    groups = list(by_study.values())
    network = Outlines().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(steps):
        chosen = [int(rng.choice(groups[g])) for g in rng.integers(len(groups), size=BATCH)]
        both = _moved(torch.cat([samples.images[chosen], samples.masks[chosen]], 1))
        masks = both[:, 1:].clamp(0, 1)
        crops = _acquired(_recontrasted(both[:, :1], masks))
        optimiser.zero_grad()
        _loss(network(crops), masks).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return network.eval()


def _loss(logits: Tensor, masks: Tensor) -> Tensor:
    found = torch.sigmoid(logits)
    shared = (found * masks).sum((0, 2, 3))
    sizes = (found * found).sum((0, 2, 3)) + (masks * masks).sum((0, 2, 3))
    dice = (2 * shared + 1) / (sizes + 1)
    return 2 * functional.binary_cross_entropy_with_logits(logits, masks) + (1 - dice).mean()


def _moved(images: Tensor) -> Tensor:
    """Turn by 12 degrees, scale by 1.3, shift by a tenth of the sample, at most; mirror half."""
    count = len(images)
    angle = _signed(count) * math.radians(12)
    scale = torch.exp(_signed(count) * math.log(1.3)) * CROP_PX / CONTEXT_PX
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    mirror = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    shifts = [0.2 * _signed(count), 0.2 * _signed(count)]
    matrix = torch.stack(
        [
            torch.stack([cos * mirror, -sin, shifts[0]], 1),
            torch.stack([sin * mirror, cos, shifts[1]], 1),
        ],
        1,
    )
    grid = functional.affine_grid(matrix, [count, 1, CROP_PX, CROP_PX], align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def _recontrasted(images: Tensor, masks: Tensor) -> Tensor:
    """A brightness of its own for canal, discs, bodies and the rest; one in four stays as it is.

    The texture within each is kept, weakened, strengthened or inverted (roots in bright fluid
    become roots in dark fluid). Bright surroundings may be suppressed as fat is.
    """
    count = len(images)
    rest = (1 - masks.sum(1, keepdim=True)).clamp(0, 1)
    around = images ** torch.exp(_between(count, -0.7, 0.7))
    around = torch.where(_some(count, 0.15), 0.8 - 0.8 * around, around)
    cap = _between(count, 0.15, 0.5)
    suppressed = torch.minimum(around, cap + (around - cap) * _between(count, 0, 0.3))
    changed = torch.where(_some(count, 0.35), suppressed, around) * rest
    marrow = _between(count, 0.15, 0.7)
    for index in range(len(STRUCTURES)):
        mask = masks[:, index : index + 1]
        size = mask.sum((1, 2, 3), keepdim=True).clamp_min(1e-3)
        was = (images * mask).sum((1, 2, 3), keepdim=True) / size
        level = marrow if index == _MARROW else marrow * torch.exp(_between(count, -1.6, 1.4))
        gain = (_between(count, -1.2, 1.2) * level / was.clamp_min(0.05)).clamp(-3, 3)
        changed = changed + (level + 0.7 * gain * (images - was)).clamp_min(0) * mask
    return torch.where(_some(count, 0.25), images, changed.clamp_min(0))


def _acquired(images: Tensor) -> Tensor:
    """Coil shading, a saturation band, blur or sharpening, and Rician noise."""
    count = len(images)
    ys = torch.linspace(-1, 1, CROP_PX).view(1, 1, -1, 1)
    xs = torch.linspace(-1, 1, CROP_PX).view(1, 1, 1, -1)
    slope = 0.9 * (_between(count, -1, 1) * xs + _between(count, -1, 1) * ys)
    wave = _between(count, -0.5, 0.5) * torch.cos(2 * ys + _between(count, -3, 3))
    images = images * torch.exp(slope + wave)
    side = torch.where(_some(count, 0.5), -1.0, 1.0)
    band = torch.sigmoid((xs * side + _between(count, -1, 0)) * 20)
    dimmed = images * (1 - band * _between(count, 0, 1))
    images = torch.where(_some(count, 0.4), dimmed, images)
    soft = functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    share = _between(count, -1, 1) * _some(count, 0.5)
    images = (images + share * (soft - images)).clamp_min(0)
    noise = _between(count, 0, 0.06)
    return torch.hypot(images + noise * torch.randn_like(images), noise * torch.randn_like(images))


def _unit(crop: NDArray[np.float32]) -> NDArray[np.float32]:
    """A crop in 0..1, between its extremes but for outliers."""
    low, high = np.percentile(crop, [0.5, 99.8])
    scaled: NDArray[np.float32] = np.clip((crop - low) / max(high - low, 1e-6), 0, 1)
    return scaled.astype(np.float32)


def _signed(count: int) -> Tensor:
    return torch.rand(count) * 2 - 1


def _between(count: int, low: float, high: float) -> Tensor:
    return torch.rand(count, 1, 1, 1) * (high - low) + low


def _some(count: int, share: float) -> Tensor:
    return torch.rand(count, 1, 1, 1) < share
