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
from worker.localise.heatmaps.options import HeatmapOptions

STRIDE: Final = 4
"""Crop pixels per heatmap cell."""


@dataclass(frozen=True)
class Peak:
    """A place in a crop, in crop pixels, and its score (0..1)."""

    column: float
    row: float
    score: float


def peaks(heatmaps: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The highest local maxima of each heatmap, best first.

    `heatmaps` has shape (maps, height, width) in 0..1. Returns places (maps, count, 2) as
    (column, row) in crop pixels, each the centre of mass of its 3 x 3 cells, and their
    scores (maps, count), 0 where there are fewer maxima.
    """
    width = heatmaps.shape[2]
    top = functional.max_pool2d(heatmaps[:, None], 3, stride=1, padding=1)[:, 0]
    maxima = torch.where(heatmaps == top, heatmaps, 0).flatten(1)
    scores, best = maxima.topk(count, dim=1)
    row, column = best // width, best % width
    patches = functional.unfold(functional.pad(heatmaps[:, None], (1, 1, 1, 1)), 3)
    mass = patches.gather(2, best[:, None].expand(-1, 9, -1))
    mass = mass / mass.sum(1, keepdim=True).clamp_min(1e-9)
    steps = torch.tensor([-1.0, 0.0, 1.0], device=heatmaps.device)
    shift_x = (mass * steps.repeat(3)[:, None]).sum(1)
    shift_y = (mass * steps.repeat_interleave(3)[:, None]).sum(1)
    cell = torch.stack([column + shift_x, row + shift_y], dim=-1)
    return (cell + 0.5) * STRIDE - 0.5, scores


def to_cell(column: float, row: float) -> tuple[float, float]:
    """The heatmap (column, row) of a crop pixel."""
    return (column + 0.5) / STRIDE - 0.5, (row + 0.5) / STRIDE - 0.5


def to_crop(column: float, row: float) -> tuple[float, float]:
    """The crop (column, row) of a heatmap place; the inverse of `to_cell`."""
    return (column + 0.5) * STRIDE - 0.5, (row + 0.5) * STRIDE - 0.5


def decode_levels(scores: NDArray[np.float32], options: HeatmapOptions) -> dict[Level, Peak]:
    """Choose one peak for each level, all five together.

    `scores` has shape (5, height, width), L1/L2 first, rows running to the feet. Of all
    choices whose order and spacing a spine can have, the one with the highest total score is
    taken; a level without such a peak is left out. A wrong level is worse than none.
    """
    places, values = peaks(torch.from_numpy(np.ascontiguousarray(scores)), options.candidates)
    choices: list[list[Peak | None]] = [
        [
            None,
            *(
                Peak(float(place[0]), float(place[1]), float(value))
                for place, value in zip(level_places, level_values, strict=True)
                if value >= options.min_score
            ),
        ]
        for level_places, level_values in zip(places, values, strict=True)
    ]
    best, best_score = tuple[Peak | None, ...]([None] * len(choices)), 0.0
    for chosen in itertools.product(*choices):
        score = _plausibility(chosen, options)
        if score > best_score:
            best, best_score = chosen, score
    return {level: peak for level, peak in zip(Level, best, strict=True) if peak is not None}


def _plausibility(chosen: tuple[Peak | None, ...], options: HeatmapOptions) -> float:
    """Total score, less what order and spacing take away; 0 or less is impossible."""
    placed = [(depth, peak) for depth, peak in enumerate(chosen) if peak is not None]
    if not placed:
        return 0.0
    total = sum(peak.score for _, peak in placed)
    steps = [
        (float(np.hypot(b.column - a.column, b.row - a.row)) / (m - n), b.row - a.row)
        for (n, a), (m, b) in itertools.pairwise(placed)
    ]
    if any(down <= 0 for _, down in steps):
        return 0.0
    if len(steps) > 1:
        lengths = np.array([length for length, _ in steps])
        # Neighbouring spacings differ by up to 40 % (annotated sides, 1st to 99th percentile).
        excess = np.abs(np.log(lengths / np.median(lengths))) - options.spacing_tolerance
        total -= float(np.clip(excess, 0, None).sum()) * options.spacing_penalty
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
