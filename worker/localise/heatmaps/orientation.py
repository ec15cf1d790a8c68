"""Whether a sagittal series is upside down or back to front, whatever its headers say.

A patient who was registered feet first although he lies head first has every level and every side
wrong. The network knows upright spines: where it sees one in the turned picture, and sees it
clearly better, the headers are wrong.
"""

from __future__ import annotations

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
    view: SagittalView, structure: Structure, run: Runner, options: HeatmapOptions
) -> bool:
    """Whether the network finds the five levels clearly better in a turned picture."""
    upright, turned = turn_scores(view, structure, run, options)
    return max(turned) > options.turned_share * upright


def turn_scores(
    view: SagittalView, structure: Structure, run: Runner, options: HeatmapOptions
) -> tuple[float, tuple[float, ...]]:
    """The total score of the levels as the picture stands, and for each turn of it.

    Only the slices that show the structure best are looked at.
    """
    named = channels(structure)
    strength = view.scores[:, named].max(axis=(2, 3)).sum(axis=1)
    best = np.sort(np.argsort(-strength, kind="stable")[: options.orientation_slices])
    crops = torch.from_numpy(np.stack([view.crops[index].pixels for index in best]))[:, None]
    turns = torch.cat([crops.flip(axes) for axes in _TURNS])
    scores = torch.sigmoid(run.run(SAGITTAL, turns)).numpy()[:, named]
    parts = np.split(scores, len(_TURNS))
    return (
        _total(view.scores[best][:, named], options),
        tuple(_total(part, options) for part in parts),
    )


def _total(scores: np.ndarray, options: HeatmapOptions) -> float:
    """The scores of the levels that can be decoded from some slices together."""
    return sum(peak.score for peak in decode_levels(scores.max(axis=0), options).values())
