"""Whether a sagittal series is upside down or back to front, whatever its headers say.

A patient who was registered feet first although he lies head first has every level and every side
wrong. The network knows upright spines: where it sees one in the turned picture, and sees it
about as well or better, the headers are in doubt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from worker.localise.heatmaps.options import HeatmapOptions
from worker.localise.heatmaps.peaks import decode_levels
from worker.localise.heatmaps.views import SagittalView
from worker.localise.heatmaps.windows import SAGITTAL, Structure, channels
from worker.models.seam import Runner

_TURNS: Final = ((-2,), (-1,), (-2, -1))
"""Upside down, back to front, and both: the axes that are reversed."""


def is_turned(
    view: SagittalView, structures: Sequence[Structure], run: Runner, options: HeatmapOptions
) -> bool:
    """Whether the network finds the five levels in a turned picture about as well or better."""
    upright, turned = turn_scores(view, structures, run, options)
    return max(turned) > options.turned_share * upright


def turn_scores(
    view: SagittalView, structures: Sequence[Structure], run: Runner, options: HeatmapOptions
) -> tuple[float, tuple[float, ...]]:
    """The total score of the levels as the picture stands, and for each turn of it.

    Only the slices that show the structures best are looked at.
    """
    named = [channels(structure) for structure in structures]
    strength = sum(view.scores[:, one].max(axis=(2, 3)).sum(axis=1) for one in named)
    best = np.sort(np.argsort(-strength, kind="stable")[: options.orientation_slices])
    crops = torch.from_numpy(np.stack([view.crops[index].pixels for index in best]))[:, None]
    turns = torch.cat([crops.flip(axes) for axes in _TURNS])
    parts = np.split(torch.sigmoid(run.run(SAGITTAL, turns)).numpy(), len(_TURNS))

    def total(scores: np.ndarray) -> float:
        """The scores of the levels that can be decoded from some slices together."""
        decoded = [decode_levels(scores[:, one].max(axis=0), options) for one in named]
        return sum(peak.score for levels in decoded for peak in levels.values())

    return total(view.scores[best]), tuple(map(total, parts))
