"""Severities from crops around the located points, a whole study in one batch per network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from dicom_sr.findings import Condition, Level, Probabilities, Side, Target
from worker.domain.crop import Crop, cut
from worker.domain.located import AxialLevel, Located
from worker.domain.points import LevelPoint
from worker.domain.predictions import SEVERITY_WEIGHTS
from worker.domain.volume import Volumes
from worker.grade.crop_windows import AXIAL_SHAPE, FORAMINAL_SHAPE, CropOptions, widened
from worker.models.seam import IMAGENET, NetworkKind, NetworkSpec, Runner

FORAMINAL: Final = "foraminal_grades"
"""The network that grades a foramen on three neighbouring slices of sagittal T1."""
AXIAL: Final = "axial_grades"
"""The network that grades the canal and the left recess on one slice of axial T2."""

Neighbours = tuple[Crop, Crop, Crop]
"""One window on three slices: towards the patient's side, the slice itself, towards the middle."""


@dataclass(frozen=True)
class AxialGrades:
    """The posteriors of one axial crop."""

    canal: Probabilities
    recesses: Mapping[Side, Probabilities]


class Crops:
    """A grader of crops whose size follows the patient.

    One head knows the left recess: the right one is graded as the left of the mirrored
    crop, so a mirrored patient gets mirrored grades by construction. The canal is the mean of
    both.
    """

    name: ClassVar[str] = "crops"
    version: ClassVar[int] = 1
    Options: ClassVar[type[CropOptions]] = CropOptions
    mirror_symmetric: ClassVar[bool] = True
    networks: ClassVar[Mapping[str, NetworkSpec]] = MappingProxyType(
        {
            FORAMINAL: NetworkSpec(
                NetworkKind.GRADES,
                heads=("foramen",),
                input_shape=(3, *FORAMINAL_SHAPE),
                samples=FORAMINAL,
                start=IMAGENET,
            ),
            AXIAL: NetworkSpec(
                NetworkKind.GRADES,
                heads=("canal", "left_recess"),
                input_shape=(1, *AXIAL_SHAPE),
                samples=AXIAL,
                # There are few axial crops: their encoder begins as that of the foramina.
                start=FORAMINAL,
                mirror={"left_recess": "right_recess", "right_recess": "left_recess"},
            ),
        }
    )

    def __init__(self, options: CropOptions) -> None:
        self.options = options

    def grade(
        self, located: Located, volumes: Volumes, run: Runner
    ) -> Mapping[Target, Probabilities]:
        """Posteriors of every target that has a site; all foramina and all levels in a batch."""
        del volumes  # points hold the volume that they lie on
        spacing_mm = self._spacing_mm(located)
        crops = [self.foraminal_crops(p, spacing_mm) for p in located.foramina.values()]
        foramina = dict(zip(located.foramina, self.grade_foramina(crops, run), strict=True))
        axial_crops = [self.axial_crop(one) for one in located.axial.values()]
        axial = dict(zip(located.axial, self.grade_axial(axial_crops, run), strict=True))
        return {target: _of(target, foramina, axial) for target in located.targets}

    def foraminal_crops(self, point: LevelPoint, spacing_mm: float | None) -> Neighbours:
        """What the network sees of a foramen: that of either side looks the same.

        The neighbouring slices lie about one usual slice distance away: of a thin-sliced
        series they are not the next ones. At the end of a series the slice itself replaces the
        missing neighbour.
        """
        options = self.options
        plane = point.volume.planes[point.index]
        window = options.foraminal_window(
            point.column,
            point.row,
            spacing_mm or options.nominal_spacing_mm,
            plane.grid,
            options.view_context,
        )
        shape = widened(FORAMINAL_SHAPE, options.view_context)

        def cut_beside(towards_left: int) -> Crop | None:
            index = self._beside(point, towards_left)
            return None if index is None else cut(point.volume.pixels[index], window, shape)

        return neighbours(cut_beside, 1 if point.side is Side.LEFT else -1)

    def axial_crop(self, level: AxialLevel) -> Crop:
        """What the network sees of a level, the patient's left on the right."""
        options, canal = self.options, level.canal
        window = options.axial_window(
            canal.column,
            canal.row,
            options.limited_span_mm(level.span_mm),
            canal.volume.planes[canal.index].grid,
            options.view_context,
        )
        shape = widened(AXIAL_SHAPE, options.view_context)
        return cut(canal.volume.pixels[canal.index], window, shape)

    def grade_foramina(self, crops: Sequence[Neighbours], run: Runner) -> list[Probabilities]:
        """Posteriors of foramina, in one batch."""
        if not crops:
            return []
        logits = _mean_over_views(run, FORAMINAL, _batch(crops), FORAMINAL_SHAPE)[:, 0]
        return posteriors(logits)

    def grade_axial(self, crops: Sequence[Crop], run: Runner) -> list[AxialGrades]:
        """Posteriors of axial crops, in one batch: each as it is and mirrored."""
        if not crops:
            return []
        batch = _batch([(crop,) for crop in crops])
        both = torch.cat([batch, batch.flip(-1)])
        straight, mirrored = _mean_over_views(run, AXIAL, both, AXIAL_SHAPE).chunk(2)
        canal = posteriors((straight[:, 0] + mirrored[:, 0]) / 2)
        left, right = posteriors(straight[:, 1]), posteriors(mirrored[:, 1])
        return [
            AxialGrades(c, {Side.LEFT: one, Side.RIGHT: other})
            for c, one, other in zip(canal, left, right, strict=True)
        ]

    def _spacing_mm(self, located: Located) -> float | None:
        """The level spacing from the canal, else from the foramina of either side."""
        canal = {level: point.position_mm for level, point in located.canal.items()}
        by_side = [
            {level: p.position_mm for (level, s), p in located.foramina.items() if s is side}
            for side in Side
        ]
        return next(filter(None, map(self.options.level_spacing, (canal, *by_side))), None)

    def _beside(self, point: LevelPoint, towards_left: int) -> int | None:
        """The slice one neighbour distance to the left (1) or right (-1) of the point's (0).

        None where there is none.
        """
        if not towards_left:
            return point.index
        # Slightly nearer: of two slices equally far off it is the nearer one, on either side.
        shift_mm = towards_left * self.options.neighbour_mm * 0.999
        position_mm = point.position_mm + np.array([shift_mm, 0.0, 0.0])
        index, distance_mm = point.volume.nearest_slice(position_mm)
        return index if distance_mm <= self.options.neighbour_mm / 2 else None


def neighbours(cut_beside: Callable[[int], Crop | None], outward: int) -> Neighbours:
    """The crops of a foramen on its slice and on both neighbours: lateral, its own, medial.

    `cut_beside` cuts the slice a step away (0: its own), None where there is none: then the slice
    itself takes that place. `outward` is the step towards the patient's side, 0 if unknown.
    """
    own = cut_beside(0)
    assert own is not None
    return cut_beside(outward) or own, own, cut_beside(-outward) or own


def posteriors(logits: Tensor) -> list[Probabilities]:
    """Posteriors of logits, shape (n, 3), of a network trained with the weights 1/2/4.

    Such a network learns weight x posterior: the weights are divided out.
    """
    plain = logits.double() - torch.tensor(SEVERITY_WEIGHTS).double().log()
    return [Probabilities(*row) for row in torch.softmax(plain, dim=-1).tolist()]


def _of(
    target: Target,
    foramina: Mapping[tuple[Level, Side], Probabilities],
    axial: Mapping[Level, AxialGrades],
) -> Probabilities:
    if target.condition is Condition.NEURAL_FORAMINAL_NARROWING:
        assert target.side is not None
        return foramina[target.level, target.side]
    grades = axial[target.level]
    return grades.canal if target.side is None else grades.recesses[target.side]


def _mean_over_views(run: Runner, name: str, batch: Tensor, shape: tuple[int, int]) -> Tensor:
    """A network's mean logits over views of crops that are wider than its shape (height, width).

    A view is moved by the margin up, down, left, right, or not at all: where exactly the
    point lies varies by a millimetre or two, and the grade must not depend on that.
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
    logits = run.run(name, torch.cat(views))
    return torch.stack(logits.chunk(len(views))).mean(dim=0)


def _batch(crops: Sequence[Sequence[Crop]]) -> Tensor:
    """The crops as (batch, slices, height, width)."""
    return torch.from_numpy(np.stack([[crop.pixels for crop in slices] for slices in crops]))
