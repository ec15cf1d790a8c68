"""Reading heatmaps: peaks with sub-cell places, and five levels decoded together."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dicom_sr.findings import Level

STRIDE: Final = 4
"""Crop pixels per heatmap cell."""

CANDIDATES: Final = 4
FAINTEST: Final = 0.05
"""Below this a heatmap says nothing about its point."""


@dataclass(frozen=True)
class Peak:
    """A place in a crop, in crop pixels, and the heat there (0..1)."""

    column: float
    row: float
    heat: float


def peaks(heat: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The highest local maxima of each heatmap, best first.

    `heat` has shape (maps, height, width) in 0..1. Returns places (maps, count, 2) as
    (column, row) in crop pixels, each the centre of mass of its 3 x 3 cells, and their
    heat (maps, count), 0 where there are fewer maxima.
    """
    width = heat.shape[2]
    top = functional.max_pool2d(heat[:, None], 3, stride=1, padding=1)[:, 0]
    score, best = torch.where(heat == top, heat, 0).flatten(1).topk(count, dim=1)
    row, column = best // width, best % width
    patches = functional.unfold(functional.pad(heat[:, None], (1, 1, 1, 1)), 3)
    mass = patches.gather(2, best[:, None].expand(-1, 9, -1))
    mass = mass / mass.sum(1, keepdim=True).clamp_min(1e-9)
    steps = torch.tensor([-1.0, 0.0, 1.0], device=heat.device)
    shift_x = (mass * steps.repeat(3)[:, None]).sum(1)
    shift_y = (mass * steps.repeat_interleave(3)[:, None]).sum(1)
    cell = torch.stack([column + shift_x, row + shift_y], dim=-1)
    return (cell + 0.5) * STRIDE - 0.5, score


def to_cell(column: float, row: float) -> tuple[float, float]:
    """The heatmap (column, row) of a crop pixel."""
    return (column + 0.5) / STRIDE - 0.5, (row + 0.5) / STRIDE - 0.5


def to_crop(column: float, row: float) -> tuple[float, float]:
    """The crop (column, row) of a heatmap place; the inverse of `to_cell`."""
    return (column + 0.5) * STRIDE - 0.5, (row + 0.5) * STRIDE - 0.5


def decode_levels(heat: NDArray[np.float32]) -> dict[Level, Peak]:
    """Choose one peak for each level, all five together.

    `heat` has shape (5, height, width), L1/L2 first, rows running to the feet. Taken are
    the peaks with the most heat whose order and spacing a spine can have; a level without
    such a peak is left out. A wrong level is worse than none.
    """
    places, scores = peaks(torch.from_numpy(np.ascontiguousarray(heat)), CANDIDATES)
    options: list[list[Peak | None]] = [
        [
            None,
            *(
                Peak(float(place[0]), float(place[1]), float(score))
                for place, score in zip(level_places, level_scores, strict=True)
                if score >= FAINTEST
            ),
        ]
        for level_places, level_scores in zip(places, scores, strict=True)
    ]
    best, best_score = tuple[Peak | None, ...]([None] * len(options)), 0.0
    for chosen in itertools.product(*options):
        score = _plausibility(chosen)
        if score > best_score:
            best, best_score = chosen, score
    return {level: peak for level, peak in zip(Level, best, strict=True) if peak is not None}


def _plausibility(chosen: tuple[Peak | None, ...]) -> float:
    """Total heat, less what order and spacing take away; 0 or less is impossible."""
    found = [(depth, peak) for depth, peak in enumerate(chosen) if peak is not None]
    if not found:
        return 0.0
    total = sum(peak.heat for _, peak in found)
    steps = [
        (float(np.hypot(b.column - a.column, b.row - a.row)) / (m - n), b.row - a.row)
        for (n, a), (m, b) in itertools.pairwise(found)
    ]
    if any(down <= 0 for _, down in steps):
        return 0.0
    if len(steps) > 1:
        lengths = np.array([length for length, _ in steps])
        ratios = np.abs(np.log(lengths / np.median(lengths)))
        # Neighbouring spacings differ by up to 40 % (annotated sides, 1st to 99th percentile).
        total -= float(np.clip(ratios - 0.4, 0, None).sum()) * 4
    return total


def prior(
    shape: tuple[int, int], centre: tuple[float, float], sigma_px: float
) -> NDArray[np.float32]:
    """A Gaussian over heatmap cells around a crop place, 1 at its top.

    `shape` is the heatmap's, `centre` is (column, row) in crop pixels.
    """
    column, row = to_cell(*centre)
    ys, xs = np.mgrid[: shape[0], : shape[1]]
    squared = ((xs - column) ** 2 + (ys - row) ** 2) * STRIDE**2
    return np.asarray(np.exp(-squared / (2 * sigma_px**2)), dtype=np.float32)
