"""How well the axial detector finds canal and recesses in windows that are off the mark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from worker.localise.peaks import peaks
from worker.localise.windows import AXIAL_SHAPE
from worker.models.loading import Bundle
from worker.training.augment import Geometry, Move, batch_of
from worker.training.samples import PRESENT, PointSet

MOVED: Final = Geometry(shift_px=(20.0, 14.0), scale=1.15, rotation_deg=8.0)
"""How the measured windows are moved, by up to 10 and 7 mm: as sagittal T2 misplaces them."""


@dataclass(frozen=True, eq=False)
class Detections:
    """Heat (n,) and error (n,), in window widths, of the points a detector should find."""

    heats: NDArray[np.float64]
    errors: NDArray[np.float64]


def detect_axial(bundle: Bundle, kept_out: PointSet) -> Detections:
    """The axial detector's points on samples it has not seen.

    Centred on the canal, the windows would give the answer away: each is moved at random,
    the same way every time.
    """
    move, heats, errors = Move(AXIAL_SHAPE, MOVED), [], []
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
            logits = bundle.run("axial_points", crops)
            places, heat = peaks(torch.sigmoid(logits).flatten(0, 1), 1)
            error = (places[:, 0] - where.flatten(0, 1)).norm(dim=1) / AXIAL_SHAPE[1]
            present = torch.from_numpy(kept_out.states[part]).flatten() == PRESENT
            heats.append(heat[present, 0])
            errors.append(error[present])
    return Detections(torch.cat(heats).double().numpy(), torch.cat(errors).double().numpy())
