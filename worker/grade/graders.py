"""Graders: from points to calibrated probabilities, a whole study in one batch each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import torch
from torch import Tensor

from dicom_sr.findings import Condition, Probabilities, Side
from worker.domain.crop import Crop, cut
from worker.domain.points import LevelPoint
from worker.grade.windows import (
    AXIAL_SHAPE,
    FORAMINAL_SHAPE,
    NOMINAL_SPACING_MM,
    NOMINAL_SPAN_MM,
    axial_window,
    foraminal_window,
    widened,
)

TRAINING_WEIGHTS: Final = (1.0, 2.0, 4.0)
"""The weights of the three severities in the training loss and the challenge's score."""


VIEW_CONTEXT: Final = 1.075
"""How much wider than a grader's shape its crops are cut, so that it can look from five places."""

NEIGHBOUR_MM: Final = 4.5
"""How far a neighbouring slice lies: the usual distance of sagittal slices."""

Neighbours = tuple[Crop, Crop, Crop]
"""One window on three slices: towards the patient's side, the slice itself, towards the middle."""


class Networks(Protocol):
    """What runs networks by name and knows their calibration: a bundle, or a stand-in."""

    @property
    def temperatures(self) -> Mapping[Condition, float]:
        """The temperature of each condition."""
        ...

    def run(self, network: str, crops: Tensor) -> Tensor:
        """The logits of one network for crops of shape (batch, slices, height, width)."""
        ...


@dataclass(frozen=True)
class AxialGrades:
    """What one axial crop says about its level."""

    canal: Probabilities
    recesses: Mapping[Side, Probabilities]


def posteriors(logits: Tensor, temperature: float) -> list[Probabilities]:
    """Calibrated posteriors of logits, shape (n, 3), trained with weights 1/2/4.

    A network trained with class weights learns weight x posterior: the weights are
    divided out before the temperature is applied.
    """
    plain = logits - torch.tensor(TRAINING_WEIGHTS).log()
    rows = torch.softmax(plain.double() / temperature, dim=-1)
    return [Probabilities(*row) for row in rows.tolist()]


def foraminal_crops(point: LevelPoint, spacing_mm: float | None) -> Neighbours:
    """What the foraminal grader sees: the foramen of either side looks the same.

    The neighbouring slices lie about one usual slice distance away: of a thin-sliced
    series they are not the next ones. At the end of a series the slice stands in itself.
    """
    plane = point.volume.planes[point.index]
    spacing = spacing_mm or NOMINAL_SPACING_MM
    window = foraminal_window(point.column, point.row, spacing, plane.grid, VIEW_CONTEXT)
    outward = 1.0 if point.side is Side.LEFT else -1.0
    indices = (_beside(point, outward), point.index, _beside(point, -outward))
    shape = widened(FORAMINAL_SHAPE, VIEW_CONTEXT)
    lateral, here, medial = (cut(point.volume.pixels[n], window, shape) for n in indices)
    return lateral, here, medial


def axial_crop(canal: LevelPoint, span_mm: float) -> Crop:
    """What the axial grader sees, the patient's left on the right."""
    plane = canal.volume.planes[canal.index]
    # A recess marked wrongly must not change the scale of what is seen beyond belief.
    span = float(np.clip(span_mm, 0.8 * NOMINAL_SPAN_MM, 1.3 * NOMINAL_SPAN_MM))
    window = axial_window(canal.column, canal.row, span, plane.grid, VIEW_CONTEXT)
    return cut(canal.volume.pixels[canal.index], window, widened(AXIAL_SHAPE, VIEW_CONTEXT))


def grade_foramina(crops: Sequence[Neighbours], networks: Networks) -> list[Probabilities]:
    """Grade foramina in one batch."""
    if not crops:
        return []
    logits = _run(networks, "foraminal_grades", _batch(crops), FORAMINAL_SHAPE)[:, 0]
    return posteriors(logits, networks.temperatures[Condition.NEURAL_FORAMINAL_NARROWING])


def grade_axial(crops: Sequence[Crop], networks: Networks) -> list[AxialGrades]:
    """Grade axial crops in one batch, each as it is and mirrored.

    One head knows the left recess: the right one is graded as the left of the mirrored
    crop, so a mirrored patient gets mirrored grades by construction. The canal is the
    mean of both views.
    """
    if not crops:
        return []
    batch = _batch([(crop,) for crop in crops])
    both = torch.cat([batch, batch.flip(-1)])
    straight, mirrored = _run(networks, "axial_grades", both, AXIAL_SHAPE).chunk(2)
    temperatures = networks.temperatures
    canal = posteriors(
        (straight[:, 0] + mirrored[:, 0]) / 2, temperatures[Condition.SPINAL_CANAL_STENOSIS]
    )
    recess = temperatures[Condition.SUBARTICULAR_STENOSIS]
    left, right = posteriors(straight[:, 1], recess), posteriors(mirrored[:, 1], recess)
    return [
        AxialGrades(c, {Side.LEFT: one, Side.RIGHT: other})
        for c, one, other in zip(canal, left, right, strict=True)
    ]


def _beside(point: LevelPoint, towards_left: float) -> int:
    """The slice that lies NEIGHBOUR_MM to the left (or the right) of the point's."""
    # A hair nearer: of two slices equally far off it is the nearer one, on either side.
    where = point.position_mm + np.array([towards_left * NEIGHBOUR_MM * 0.999, 0.0, 0.0])
    index, distance_mm = point.volume.nearest_slice(where)
    return index if distance_mm <= NEIGHBOUR_MM / 2 else point.index


def _run(networks: Networks, name: str, batch: Tensor, shape: tuple[int, int]) -> Tensor:
    """A grader's mean logits over views of crops that are wider than its shape (height, width).

    A view is moved by the margin up, down, left, right, or not at all: where exactly the
    point lies is a matter of a millimetre or two, and should not be one of the grade.
    """
    height, width = shape
    down, right = batch.shape[-2] - height, batch.shape[-1] - width
    views = [
        batch[..., top : top + height, left : left + width]
        for top, left in sorted(
            {
                (down // 2, right // 2),
                (0, right // 2),
                (down, right // 2),
                (down // 2, 0),
                (down // 2, right),
            }
        )
    ]
    logits = networks.run(name, torch.cat(views))
    return torch.stack(logits.chunk(len(views))).mean(dim=0)


def _batch(crops: Sequence[Sequence[Crop]]) -> Tensor:
    """The crops as (batch, slices, height, width)."""
    return torch.from_numpy(np.stack([[crop.pixels for crop in slices] for slices in crops]))
