"""The whole way, on one page: a study walks in, findings and a Structured Report come out.

No network and no queue in here: an `Archive` brings the headers and the pixels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np

from dicom_sr.findings import (
    TARGETS,
    Condition,
    Finding,
    Graded,
    ImageReference,
    Level,
    NotAssessed,
    NotAssessedReason,
    Probabilities,
    Report,
    Side,
    Target,
)
from worker import MIN_AGE_YEARS
from worker.archive import Archive
from worker.domain.geometry import Vector
from worker.domain.graded_study import GradedStudy
from worker.domain.points import LevelPoint
from worker.domain.study import Role, RoutedStudy
from worker.domain.volume import Volumes
from worker.grade.graders import axial_crop, foraminal_crops, grade_axial, grade_foramina
from worker.grade.windows import level_spacing
from worker.intake.exclusions import exclude
from worker.intake.headers import read_study
from worker.intake.loading import load
from worker.intake.routing import route
from worker.intake.site import SiteRule
from worker.localise.axial import AxialLevel, choose_slice, find_canals, recess_heights
from worker.localise.foramina import find_foramina
from worker.localise.level_checks import doubt_names
from worker.localise.levels import find_levels, onto_midline
from worker.localise.views import look_at
from worker.models.loading import Bundle
from worker.recognise.slice_fetch import MiddleSlice

SURE: Final = 0.5
"""An axial canal less believed than this does not move the level's sagittal slice."""

Observer = Callable[[str], None]
"""Told the name of each step as it begins."""


class Steps:
    """The steps of one study: told to an observer as they begin, timed as they end."""

    def __init__(self, observe: Observer = lambda _: None) -> None:
        self._observe = observe
        self.timings_ms: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Run the body as the step of this name."""
        self._observe(name)
        begun = time.perf_counter()
        yield
        self.timings_ms[name] = (time.perf_counter() - begun) * 1000


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Where everything lies: what stage 1 hands to stage 2.

    `positions` is where each level is looked for on axial slices, in patient millimetres;
    `off_axis` holds the levels that no axial slice passes; `doubts` why what lies at a level
    must not be graded.
    """

    levels: Mapping[Level, LevelPoint]
    foramina: Mapping[tuple[Level, Side], LevelPoint]
    axial: Mapping[Level, AxialLevel]
    positions: Mapping[Level, Vector]
    off_axis: frozenset[Level]
    doubts: Mapping[Level, NotAssessedReason] = field(default_factory=dict)


def grade(
    study: str,
    archive: Archive,
    bundle: Bundle,
    *,
    site: Sequence[SiteRule] = (),
    min_age_years: int = MIN_AGE_YEARS,
    observe: Observer = lambda _: None,
) -> GradedStudy:
    """Grade one study of an archive: look at its headers, then grade what they route.

    `site` holds a site's own routing rules; of patients under `min_age_years` nothing is
    graded. Raises what `look` and `grade_routed` raise.
    """
    steps = Steps(observe)
    return grade_routed(look(study, archive, steps, site, min_age_years), archive, bundle, steps)


def look(
    study: str,
    archive: Archive,
    steps: Steps,
    site: Sequence[SiteRule] = (),
    min_age_years: int = MIN_AGE_YEARS,
) -> RoutedStudy:
    """Route a study by its headers and a site's own rules, or exclude it.

    Of a sagittal series whose headers do not tell its weighting one slice is fetched and
    looked at; no other pixel is read.

    Raises `Rejected` when there is nothing to grade, `ArchiveUnavailable` when the
    archive does not answer, `BundleMissing` or `BundleMismatch` when the recogniser that
    ships is not there as it was.
    """
    with steps.step("headers"):
        instances = archive.headers(study)
    with steps.step("route"):
        found = route(read_study(instances), site, MiddleSlice(archive.fetch))
        return exclude(found, min_age_years)


def grade_routed(
    routed: RoutedStudy, archive: Archive, bundle: Bundle, steps: Steps
) -> GradedStudy:
    """Read the routed series' pixels, find every target and grade it.

    Whatever cannot be graded becomes "not assessed" with its reason; of an excluded study
    no pixel is read. Raises `ArchiveUnavailable` when the archive does not answer.
    """
    if routed.exclusions:
        reason = routed.exclusions[0].reason
        nothing = tuple(NotAssessed(target, reason) for target in TARGETS)
        return _graded_study(routed, bundle, nothing, Volumes(), steps)
    with steps.step("pixels"):
        volumes = load(routed, archive.fetch)
    with steps.step("localise"):
        anatomy = localise(volumes, bundle)
    with steps.step("grade"):
        findings = assess(anatomy, volumes, bundle, routed.elsewhere)
    return _graded_study(routed, bundle, findings, volumes, steps)


def _graded_study(
    routed: RoutedStudy,
    bundle: Bundle,
    findings: tuple[Finding, ...],
    volumes: Volumes,
    steps: Steps,
) -> GradedStudy:
    report = Report(routed.study.study_instance_uid, bundle.identity, findings)
    repairs = (*routed.study.repairs, *volumes.repairs)
    return GradedStudy(report, routed, volumes, repairs, steps.timings_ms)


def localise(volumes: Volumes, bundle: Bundle) -> Anatomy:
    """Stage 1: levels on sagittal T2, foramina on sagittal T1, canals on axial T2."""
    levels: Mapping[Level, LevelPoint] = {}
    t1, t2 = look_at(volumes.sagittal_t1, bundle), look_at(volumes.sagittal_t2, bundle)
    for view in t2:
        levels = max(levels, find_levels(view, bundle), key=len)
    canal = {level: point.position_mm for level, point in levels.items()}
    reason = doubt_names(t2, t1, canal)
    if reason is not None:
        return Anatomy({}, {}, {}, {}, frozenset(), dict.fromkeys(Level, reason))
    foramina: dict[tuple[Level, Side], LevelPoint] = {}
    for view in t1:
        for key, point in find_foramina(view, bundle, canal).items():
            if key not in foramina or point.confidence > foramina[key].confidence:
                foramina[key] = point
    positions = recess_heights(canal or _between_foramina(foramina))
    chosen = {level: choose_slice(volumes.axial_t2, where) for level, where in positions.items()}
    slices = {level: found for level, found in chosen.items() if found is not None}
    axial = find_canals(slices, positions, bundle)
    levels = {
        level: onto_midline(point, float(axial[level].canal.position_mm[0]))
        if level in axial and axial[level].canal.confidence > SURE
        else point
        for level, point in levels.items()
    }
    off_axis = frozenset(positions.keys() - slices.keys())
    return Anatomy(levels, foramina, axial, positions, off_axis)


def assess(
    anatomy: Anatomy,
    volumes: Volumes,
    bundle: Bundle,
    elsewhere: frozenset[Role] = frozenset(),
) -> tuple[Finding, ...]:
    """Stage 2: a grade for every target that stage 1 found, a reason for every other.

    `elsewhere` holds the roles of series that lie in another patient space.
    """
    spacing = _level_spacing_mm(anatomy)
    foramina = list(anatomy.foramina.values())
    foraminal = dict(
        zip(
            anatomy.foramina,
            grade_foramina([foraminal_crops(p, spacing) for p in foramina], bundle),
            strict=True,
        )
    )
    crops = [axial_crop(found.canal, found.span_mm) for found in anatomy.axial.values()]
    axial = dict(zip(anatomy.axial, grade_axial(crops, bundle), strict=True))
    graded = partial(_graded, bundle.abstain_below)

    def finding(target: Target) -> Finding:
        level, side = target.level, target.side
        if level in anatomy.doubts:
            return NotAssessed(target, anatomy.doubts[level])
        if target.condition is Condition.NEURAL_FORAMINAL_NARROWING and side is not None:
            if (level, side) not in foraminal:
                return NotAssessed(target, _why_no_foramen(volumes, elsewhere))
            point = anatomy.foramina[level, side]
            image = point.image_point.image
            return graded(target, foraminal[level, side], point, image, point.confidence)
        if level not in axial:
            return NotAssessed(target, _why_no_axial(target, anatomy, volumes, elsewhere))
        found = anatomy.axial[level]
        image = found.canal.image_point.image
        if side is not None:
            sure = found.canal.confidence * _level_confidence(level, anatomy)
            return graded(target, axial[level].recesses[side], found.recesses[side], image, sure)
        if level not in anatomy.levels:
            return NotAssessed(target, _why_no_axial(target, anatomy, volumes, elsewhere))
        sure = found.canal.confidence * _level_confidence(level, anatomy)
        return graded(target, axial[level].canal, anatomy.levels[level], image, sure)

    return tuple(finding(target) for target in TARGETS)


def _between_foramina(
    foramina: Mapping[tuple[Level, Side], LevelPoint],
) -> dict[Level, Vector]:
    """Without sagittal T2, a level lies between its two foramina, a little behind and below."""
    return {
        level: (foramina[level, Side.LEFT].position_mm + foramina[level, Side.RIGHT].position_mm)
        / 2
        + np.array([0.0, 5.0, -5.0])
        for level in Level
        if all((level, side) in foramina for side in Side)
    }


def _level_spacing_mm(anatomy: Anatomy) -> float | None:
    """The level spacing from the canal, else from the foramina of either side."""
    canal = {level: point.position_mm for level, point in anatomy.levels.items()}
    by_side = [
        {level: p.position_mm for (level, s), p in anatomy.foramina.items() if s is side}
        for side in Side
    ]
    return next(filter(None, map(level_spacing, (canal, *by_side))), None)


def _level_confidence(level: Level, anatomy: Anatomy) -> float:
    if level in anatomy.levels:
        return anatomy.levels[level].confidence
    return min(anatomy.foramina[level, side].confidence for side in Side)


def _graded(
    abstain_below: Mapping[Condition, float],
    target: Target,
    probabilities: Probabilities,
    point: LevelPoint,
    graded_on: ImageReference,
    level_confidence: float,
) -> Finding:
    if not point.volume.planes[point.index].contains(point.column, point.row):
        return NotAssessed(target, NotAssessedReason.OUTSIDE_IMAGE)
    certainty = probabilities.of(probabilities.severity)
    if certainty < abstain_below[target.condition]:
        return NotAssessed(target, NotAssessedReason.UNCERTAIN)
    confidence = certainty * min(1.0, level_confidence)
    return Graded(target, probabilities, confidence, point.image_point, graded_on)


def _why_no_foramen(volumes: Volumes, elsewhere: frozenset[Role]) -> NotAssessedReason:
    if volumes.sagittal_t1:
        return NotAssessedReason.FORAMEN_NOT_FOUND
    if Role.SAGITTAL_T1 in elsewhere:
        return NotAssessedReason.NOT_SAME_SPACE
    return NotAssessedReason.NO_SAGITTAL_T1


def _why_no_axial(
    target: Target, anatomy: Anatomy, volumes: Volumes, elsewhere: frozenset[Role]
) -> NotAssessedReason:
    for role, reason in (
        (Role.AXIAL_T2, NotAssessedReason.NO_AXIAL_T2),
        (Role.SAGITTAL_T2, NotAssessedReason.NO_SAGITTAL_T2),
    ):
        # Without sagittal T2 the recesses are looked for where T1 puts the levels.
        needed = role is Role.AXIAL_T2 or target.side is None
        if needed and not volumes.of(role):
            return NotAssessedReason.NOT_SAME_SPACE if role in elsewhere else reason
    if target.level in anatomy.off_axis:
        return NotAssessedReason.NO_AXIAL_SLICE
    if target.level not in anatomy.positions:
        return NotAssessedReason.LEVEL_NOT_FOUND
    return NotAssessedReason.CANAL_NOT_FOUND
