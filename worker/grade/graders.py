"""Graders: from points to calibrated probabilities, a whole study in one batch each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import torch
from torch import Tensor

from dicom_sr.findings import Condition, Probabilities, Side
from worker.grade.windows import (
    AXIAL_SHAPE,
    FORAMINAL_SHAPE,
    NOMINAL_SPACING_MM,
    NOMINAL_SPAN_MM,
    axial_window,
    foraminal_window,
)
from worker.nouns.crop import Crop, cut
from worker.nouns.points import LevelPoint

TRAINING_WEIGHTS: Final = (1.0, 2.0, 4.0)
"""The weights of the three severities in the training loss and the challenge's score."""


class Networks(Protocol):
    """What runs networks by name and knows their calibration: a bundle, or a stand-in."""

    @property
    def temperatures(self) -> Mapping[Condition, float]:
        """The temperature of each condition."""
        ...

    def run(self, network: str, crops: Tensor) -> Tensor:
        """The logits of one network for crops of shape (batch, 1, height, width)."""
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


def foraminal_crop(point: LevelPoint, spacing_mm: float | None) -> Crop:
    """What the foraminal grader sees: the foramen of either side looks the same."""
    plane = point.volume.planes[point.index]
    spacing = spacing_mm or NOMINAL_SPACING_MM
    window = foraminal_window(point.column, point.row, spacing, plane.grid)
    return cut(point.volume.pixels[point.index], window, FORAMINAL_SHAPE)


def axial_crop(canal: LevelPoint, span_mm: float) -> Crop:
    """What the axial grader sees, the patient's left on the right."""
    plane = canal.volume.planes[canal.index]
    # A recess marked wrongly must not change the scale of what is seen beyond belief.
    span = float(np.clip(span_mm, 0.8 * NOMINAL_SPAN_MM, 1.3 * NOMINAL_SPAN_MM))
    window = axial_window(canal.column, canal.row, span, plane.grid)
    return cut(canal.volume.pixels[canal.index], window, AXIAL_SHAPE)


def grade_foramina(crops: Sequence[Crop], networks: Networks) -> list[Probabilities]:
    """Grade foraminal crops in one batch."""
    if not crops:
        return []
    logits = networks.run("foraminal_grades", _batch(crops))[:, 0]
    return posteriors(logits, networks.temperatures[Condition.NEURAL_FORAMINAL_NARROWING])


def grade_axial(crops: Sequence[Crop], networks: Networks) -> list[AxialGrades]:
    """Grade axial crops in one batch, each as it is and mirrored.

    One head knows the left recess: the right one is graded as the left of the mirrored
    crop, so a mirrored patient gets mirrored grades by construction. The canal is the
    mean of both views.
    """
    if not crops:
        return []
    batch = _batch(crops)
    straight, mirrored = networks.run("axial_grades", torch.cat([batch, batch.flip(-1)])).chunk(2)
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


def _batch(crops: Sequence[Crop]) -> Tensor:
    return torch.from_numpy(np.stack([crop.pixels for crop in crops]))[:, None]
