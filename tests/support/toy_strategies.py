"""An approach, a localiser and a grader of one file, as another package would offer them.

They have no networks. The tests install a copy of this file with its entry points, and nothing
else: every command must then know the three by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from pydantic import Field

from dicom_sr.findings import (
    TARGETS,
    Condition,
    ImagePoint,
    Level,
    NotAssessedReason,
    Probabilities,
    Side,
    Target,
)
from worker.domain.located import AxialLevel, Located
from worker.domain.points import LevelPoint
from worker.domain.predictions import Prediction
from worker.domain.study import Role
from worker.domain.volume import Volume, Volumes
from worker.models.seam import NetworkSpec, Runner, StrategyOptions

NO_NETWORKS: Mapping[str, NetworkSpec] = MappingProxyType({})


class ToyOptions(StrategyOptions):
    """How severe everything is."""

    severe: float = Field(default=0.1, ge=0, le=1, description="probability of Severe")


def posterior(severe: float) -> Probabilities:
    """The same for every target."""
    return Probabilities(1 - severe, 0.0, severe)


class ToyApproach:
    """Points at the middle of one series per condition, and says the same of every target."""

    name: ClassVar[str] = "toy"
    version: ClassVar[int] = 3
    Options: ClassVar[type[ToyOptions]] = ToyOptions
    networks: ClassVar[Mapping[str, NetworkSpec]] = NO_NETWORKS
    mirror_symmetric: ClassVar[bool] = True
    requires: ClassVar[Mapping[Condition, frozenset[Role]]] = {
        Condition.SPINAL_CANAL_STENOSIS: frozenset({Role.SAGITTAL_T2}),
        Condition.NEURAL_FORAMINAL_NARROWING: frozenset({Role.SAGITTAL_T1}),
        Condition.SUBARTICULAR_STENOSIS: frozenset({Role.AXIAL_T2}),
    }

    def __init__(self, options: ToyOptions) -> None:
        self.options = options

    def predict(
        self, volumes: Volumes, run: Runner
    ) -> Mapping[Target, Prediction | NotAssessedReason]:
        """The middle of the stack of the series that the condition requires."""
        answers: dict[Target, Prediction | NotAssessedReason] = {}
        for target in TARGETS:
            (role,) = self.requires[target.condition]
            stack = volumes.of(role)
            if not stack:
                answers[target] = NotAssessedReason.LEVEL_NOT_FOUND
                continue
            volume = stack[0]
            index = len(volume.slices) // 2
            plane = volume.planes[index]
            point = ImagePoint(volume.image(index), (plane.columns - 1) / 2, (plane.rows - 1) / 2)
            answers[target] = Prediction(
                posterior(self.options.severe), point, point.image, confidence=0.5
            )
        return answers


class ToyLocaliser:
    """Puts every level on the middle of its series, evenly spaced along the spine."""

    name: ClassVar[str] = "toy_points"
    version: ClassVar[int] = 1
    Options: ClassVar[type[StrategyOptions]] = StrategyOptions
    networks: ClassVar[Mapping[str, NetworkSpec]] = NO_NETWORKS

    def __init__(self, options: StrategyOptions) -> None:
        self.options = options

    def locate(self, volumes: Volumes, run: Runner) -> Located:
        """Even spacing over the middle of the sagittal image; axial slices in equal steps."""
        canal, foramina, axial = {}, {}, {}
        for n, level in enumerate(Level):
            share = (n + 2) / 8
            for volume in volumes.sagittal_t2[:1]:
                canal[level] = self._at(level, None, volume, len(volume.slices) // 2, share)
            for volume in volumes.sagittal_t1[:1]:
                for side in Side:
                    index = self._towards(volume, side)
                    foramina[level, side] = self._at(level, side, volume, index, share)
            for volume in volumes.axial_t2[:1]:
                index = int(share * len(volume.slices))
                middle = self._at(level, None, volume, index, 0.5)
                recesses = {side: self._at(level, side, volume, index, 0.5) for side in Side}
                axial[level] = AxialLevel(middle, recesses, 18.0)
        located = Located(canal, foramina, axial)
        reasons = {
            target: NotAssessedReason.LEVEL_NOT_FOUND
            for target in TARGETS
            if located.site(target) is None
        }
        return Located(canal, foramina, axial, reasons)

    def _towards(self, volume: Volume, side: Side) -> int:
        """The slice a quarter of the stack towards a side, by patient x."""
        order = np.argsort([plane.position_mm[0] for plane in volume.planes])
        share = 0.75 if side is Side.LEFT else 0.25
        return int(order[int(share * len(order))])

    def _at(
        self, level: Level, side: Side | None, volume: Volume, index: int, share: float
    ) -> LevelPoint:
        plane = volume.planes[index]
        column, row = (plane.columns - 1) / 2, share * (plane.rows - 1)
        return LevelPoint(level, side, volume, index, column, row, 0.5)


class ToyGrader:
    """Says the same of every site."""

    name: ClassVar[str] = "toy_grades"
    version: ClassVar[int] = 1
    Options: ClassVar[type[ToyOptions]] = ToyOptions
    networks: ClassVar[Mapping[str, NetworkSpec]] = NO_NETWORKS
    mirror_symmetric: ClassVar[bool] = True

    def __init__(self, options: ToyOptions) -> None:
        self.options = options

    def grade(
        self, located: Located, volumes: Volumes, run: Runner
    ) -> Mapping[Target, Probabilities]:
        """One posterior for all."""
        return dict.fromkeys(located.targets, posterior(self.options.severe))
