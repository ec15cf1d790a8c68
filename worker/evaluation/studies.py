"""Whole studies in the challenge's layout, through the whole pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from dicom_sr.findings import (
    TARGETS,
    Condition,
    Finding,
    Graded,
    ImageReference,
    Level,
    Probabilities,
    Severity,
    Target,
)
from worker.archive.folder import FolderArchive
from worker.domain.geometry import Plane
from worker.domain.graded_study import GradedStudy
from worker.errors import BadSettings, Rejected
from worker.evaluation.out_of_fold import only, out_of_fold_members, provenance
from worker.evaluation.predictions import (
    GradePrediction,
    GradeSheet,
    PointPrediction,
    PointSheet,
    SagittalWeighting,
)
from worker.evaluation.truth import IMAGES, AnnotatedPoint, Truth, read_truth
from worker.models.bundle import Bundle
from worker.pipeline import grade

SAME_PLACE_MM: Final = 15.0
"""A point further than this from the annotated slice is another one: that of the other side."""

PREVALENCE: Final = {
    Condition.SPINAL_CANAL_STENOSIS: Probabilities(0.877, 0.075, 0.048),
    Condition.NEURAL_FORAMINAL_NARROWING: Probabilities(0.780, 0.181, 0.039),
    Condition.SUBARTICULAR_STENOSIS: Probabilities(0.714, 0.190, 0.096),
}
"""The shares of the severities in the challenge's labels."""


def rsna(
    folder: Path, bundle: Bundle, observe: Callable[[int, int], None]
) -> tuple[GradeSheet, PointSheet]:
    """Grade every study of a folder in the challenge's layout, as the worker would.

    The challenge scores every target: one that is not assessed counts with the prevalence
    of its condition, and a problem says so. Points are those of canal and foramina, in the
    annotated slice. Raises BadSettings when there are no images or tables.
    """
    studies = _studies(folder)
    graded: list[GradePrediction] = []
    points: list[PointPrediction] = []
    problems: list[str] = []
    for done, path in enumerate(studies):
        observe(done, len(studies))
        members = {n: out_of_fold_members(bundle, n, path.name) for n in bundle.card.networks}
        if not all(members.values()):
            continue
        try:
            study = grade(str(path), FolderArchive(), only(bundle, members))
        except Rejected as error:
            problems.append(f"study {path.name} is scored with the prevalence: {error}")
            truth = _truth(path.name, folder, problems)
            graded += [_prior(path.name, target, truth) for target in TARGETS]
            continue
        truth = _truth(path.name, folder, problems)
        for finding in study.report.findings:
            row = _grade(path.name, finding, truth, problems)
            graded.append(row)
        if truth is not None:
            points += _points(path.name, study, truth)
    observe(len(studies), len(studies))
    source = provenance(
        bundle, tuple(bundle.card.networks), [path.name for path in studies], problems
    )
    return GradeSheet(tuple(graded), source), PointSheet(tuple(points), source)


def _studies(folder: Path) -> list[Path]:
    for name in IMAGES:
        if (folder / name).is_dir():
            return sorted(path for path in (folder / name).iterdir() if path.is_dir())
    raise BadSettings(
        f"{folder} has no train_images; name a folder in the layout of the RSNA 2024 challenge"
    )


def _truth(study_id: str, folder: Path, problems: list[str]) -> Truth | None:
    try:
        truth = read_truth(study_id, folder)
    except BadSettings as error:
        problems.append(f"study {study_id} is not scored: {error}")
        return None
    problems += [f"study {study_id}: {problem}" for problem in truth.problems]
    return truth


def _grade(
    study_id: str, finding: Finding, truth: Truth | None, problems: list[str]
) -> GradePrediction:
    label: Severity | None = truth.severities.get(finding.target) if truth else None
    if isinstance(finding, Graded):
        return GradePrediction(study_id, study_id, finding.target, finding.probabilities, label)
    problems.append(
        f"study {study_id}: {finding.target} is not assessed ({finding.reason.label}): "
        "scored with the prevalence"
    )
    return _prior(study_id, finding.target, truth)


def _prior(study_id: str, target: Target, truth: Truth | None) -> GradePrediction:
    label = truth.severities.get(target) if truth else None
    return GradePrediction(study_id, study_id, target, PREVALENCE[target.condition], label)


def _points(study_id: str, study: GradedStudy, truth: Truth) -> list[PointPrediction]:
    planes = {
        header.image: header.plane
        for series in study.routed.study.series
        for header in series.slices
    }
    rows = []
    for target, marked in truth.points.items():
        weighting = WEIGHTINGS.get(target.condition)
        if weighting is not None:
            rows.append(_point(study_id, study, target, weighting, marked, planes))
    return rows


WEIGHTINGS: Final = {
    Condition.SPINAL_CANAL_STENOSIS: SagittalWeighting.T2,
    Condition.NEURAL_FORAMINAL_NARROWING: SagittalWeighting.T1,
}


def _point(
    study_id: str,
    study: GradedStudy,
    target: Target,
    weighting: SagittalWeighting,
    marked: AnnotatedPoint,
    planes: Mapping[ImageReference, Plane],
) -> PointPrediction:
    plane = marked.header.plane

    def fractions(column: float, row: float) -> tuple[float, float]:
        return (column + 0.5) / plane.columns, (row + 0.5) / plane.rows

    finding = study.report[target]
    found, sure = None, 0.0
    if isinstance(finding, Graded):
        place = planes[finding.point.image].to_mm(finding.point.column, finding.point.row)
        if abs(plane.distance_mm(place)) < SAME_PLACE_MM:
            found, sure = fractions(*plane.to_px(place)), finding.confidence
    key = Path(marked.header.key)
    level: Level = target.level
    return PointPrediction(
        study_id,
        "/".join((study_id, key.parent.name, key.name)),
        weighting,
        level,
        found,
        sure,
        fractions(marked.column, marked.row),
        aspect=plane.rows * plane.row_spacing_mm / (plane.columns * plane.column_spacing_mm),
        width_mm=plane.columns * plane.column_spacing_mm,
    )
