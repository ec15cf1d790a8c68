"""Heatmaps of named points: levels on T2, foramina on T1, canal and recesses on axial T2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from dicom_sr.findings import (
    TARGETS,
    Condition,
    Level,
    NotAssessedReason,
    Side,
    Target,
)
from worker.domain.geometry import Vector
from worker.domain.located import Located
from worker.domain.points import LevelPoint
from worker.domain.volume import Volumes
from worker.localise.heatmaps.axial import choose_slice, find_canals, recess_heights
from worker.localise.heatmaps.foramina import find_foramina
from worker.localise.heatmaps.level_checks import numbering_problem
from worker.localise.heatmaps.levels import find_levels, onto_midline
from worker.localise.heatmaps.options import HeatmapOptions
from worker.localise.heatmaps.orientation import is_turned
from worker.localise.heatmaps.views import SagittalView, sagittal_view
from worker.localise.heatmaps.windows import NETWORKS, T1_STRUCTURES, T2_STRUCTURES
from worker.models.seam import NetworkSpec, Runner

Foramina = Mapping[tuple[Level, Side], LevelPoint]


class Heatmaps:
    """A localiser that draws one heatmap per named point and decodes all levels together.

    The sagittal network finds discs, canal and foramina; the axial one the canal and both
    lateral recesses on the slice of each level. Sides follow from patient x, names from all five
    levels; the order of slices and files does not matter.
    """

    name: ClassVar[str] = "heatmaps"
    version: ClassVar[int] = 3
    Options: ClassVar[type[HeatmapOptions]] = HeatmapOptions
    networks: ClassVar[Mapping[str, NetworkSpec]] = NETWORKS

    def __init__(self, options: HeatmapOptions) -> None:
        self.options = options

    def locate(self, volumes: Volumes, run: Runner) -> Located:
        """Find levels on sagittal T2, foramina on sagittal T1, canals on axial T2.

        Without sagittal T2, the levels are taken from the foramina.
        """
        t1 = [sagittal_view(volume, run) for volume in volumes.sagittal_t1]
        t2 = [sagittal_view(volume, run) for volume in volumes.sagittal_t2]
        levels: Mapping[Level, LevelPoint] = {}
        for view in t2:
            levels = max(levels, find_levels(view, run, self.options), key=len)
        canal = {level: point.position_mm for level, point in levels.items()}
        problem = numbering_problem(t2, t1, canal, self.options)
        if problem is None and self._is_turned(t1, t2, run):
            problem = NotAssessedReason.ORIENTATION_IN_DOUBT
        if problem is not None:
            return Located(reasons=dict.fromkeys(TARGETS, problem))
        foramina: dict[tuple[Level, Side], LevelPoint] = {}
        for view in t1:
            for key, point in find_foramina(view, run, canal, self.options).items():
                if key not in foramina or point.confidence > foramina[key].confidence:
                    foramina[key] = point
        return self._with_axial(levels, foramina, volumes, run)

    def _is_turned(
        self, t1: Sequence[SagittalView], t2: Sequence[SagittalView], run: Runner
    ) -> bool:
        """Whether headers turn the patient: one series tells, since others must agree with it.

        Foramina tell upside down from upright better than the canal does.
        """
        for views, structures in ((t1, T1_STRUCTURES), (t2, T2_STRUCTURES)):
            if views:
                return is_turned(views[0], structures, run, self.options)
        return False

    def _with_axial(
        self,
        levels: Mapping[Level, LevelPoint],
        foramina: Foramina,
        volumes: Volumes,
        run: Runner,
    ) -> Located:
        """Add the axial slice of each level, and move the sagittal points onto its midline."""
        canal = {level: point.position_mm for level, point in levels.items()}
        positions = recess_heights(canal or self._between(foramina), self.options)
        chosen = {
            level: choose_slice(volumes.axial_t2, position, self.options)
            for level, position in positions.items()
        }
        slices = {level: choice for level, choice in chosen.items() if choice is not None}
        axial = find_canals(slices, positions, run, self.options)
        centred = {
            level: onto_midline(point, float(axial[level].canal.position_mm[0]))
            if level in axial
            and axial[level].canal.confidence > self.options.midline_min_confidence
            else point
            for level, point in levels.items()
        }
        located = Located(centred, foramina, axial)
        reasons = {
            target: _reason(target, positions, slices)
            for target in TARGETS
            if located.site(target) is None
        }
        return Located(centred, foramina, axial, reasons)

    def _between(self, foramina: Foramina) -> dict[Level, Vector]:
        """Without sagittal T2 a level lies between its two foramina, a little behind and below."""
        offset = np.array([0.0, *self.options.canal_from_foramina_mm])
        return {
            level: offset
            + (foramina[level, Side.LEFT].position_mm + foramina[level, Side.RIGHT].position_mm) / 2
            for level in Level
            if all((level, side) in foramina for side in Side)
        }


def _reason(
    target: Target, positions: Mapping[Level, Vector], slices: Mapping[Level, object]
) -> NotAssessedReason:
    """Why a target has no site, where the series that it needs is there."""
    if target.condition is Condition.NEURAL_FORAMINAL_NARROWING:
        return NotAssessedReason.FORAMEN_NOT_FOUND
    if target.level not in positions:
        return NotAssessedReason.LEVEL_NOT_FOUND
    if target.level not in slices:
        return NotAssessedReason.NO_AXIAL_SLICE
    return NotAssessedReason.CANAL_NOT_FOUND
