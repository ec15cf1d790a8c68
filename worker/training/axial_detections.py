"""How well the axial network finds canal and recesses in windows that are not centred."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from worker.localise.heatmaps.peaks import peaks
from worker.localise.heatmaps.windows import AXIAL, AXIAL_SHAPE
from worker.models.seam import Runner
from worker.training.augment import Geometry, Move, batch_of
from worker.training.samples import PRESENT, PointSet

MOVED: Final = Geometry(shift_px=(20.0, 14.0), scale=1.15, rotation_deg=8.0)
"""How the measured windows are moved, by up to 10 and 7 mm: as sagittal T2 misplaces them."""


@dataclass(frozen=True, eq=False)
class Detections:
    """Score (n,) and error (n,), in window widths, of the points that should be found."""

    scores: NDArray[np.float64]
    errors: NDArray[np.float64]


def detect_axial(run: Runner, kept_out: PointSet) -> Detections:
    """The axial network's points on samples that it was not trained on.

    Centred on the canal, the windows would give the answer away: each is moved at random,
    the same way every time.
    """
    move, scores, errors = Move(AXIAL_SHAPE, MOVED), [], []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for start in range(0, len(kept_out), 64):
            part = slice(start, start + 64)
            images, points = (
                torch.from_numpy(array[part]) for array in (kept_out.images, kept_out.points)
            )
            crops, where, _ = (
                one.as_subclass(torch.Tensor) for one in move(batch_of(images, points))
            )
            logits = run.run(AXIAL, crops)
            places, score = peaks(torch.sigmoid(logits).flatten(0, 1), 1)
            error = (places[:, 0] - where.flatten(0, 1)).norm(dim=1) / AXIAL_SHAPE[1]
            present = torch.from_numpy(kept_out.states[part]).flatten() == PRESENT
            scores.append(score[present, 0])
            errors.append(error[present])
    return Detections(torch.cat(scores).double().numpy(), torch.cat(errors).double().numpy())
