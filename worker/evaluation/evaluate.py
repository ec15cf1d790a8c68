"""Computes all metrics of the predictions of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import Condition, Level, Severity
from worker.evaluation.bootstrap import RESAMPLES, draw, estimate, share_estimate
from worker.evaluation.detection import average_precision
from worker.evaluation.grade_metrics import CLASS_METRICS, confusion, curves, grade_metrics
from worker.evaluation.labels import GRADE_METRICS
from worker.evaluation.point_metrics import SHARES, marked_points, point_metrics
from worker.evaluation.predictions import (
    GradePrediction,
    GradeSheet,
    PointPrediction,
    PointSheet,
    SagittalWeighting,
)
from worker.evaluation.results import (
    Estimate,
    Evaluation,
    Floats,
    GradeGroup,
    Labels,
    PointGroup,
    Task,
)
from worker.evaluation.scores import (
    any_severe_log_loss,
    any_severe_spinal,
    constant_log_loss,
    weighted,
)

Observe = Callable[[int, int], None]
"""Called with the number of finished groups and the number of all groups."""

LEVELS: Final[tuple[Level | None, ...]] = (None, *Level)


def evaluate(
    task: Task,
    grades: GradeSheet | None = None,
    points: PointSheet | None = None,
    *,
    observe: Observe = lambda _done, _total: None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """All metrics of the labelled rows, with intervals from `resamples` draws of whole studies.

    The result does not depend on the order of rows, and the same seed gives the same
    intervals. Raises BadSettings if a library of the extra `train` is needed and missing.
    """
    grade_rows = sorted(() if grades is None else grades.rows, key=_grade_order)
    labelled = [row for row in grade_rows if row.truth is not None]
    point_rows = sorted(() if points is None else points.rows, key=_point_order)
    conditions = [c for c in Condition if any(row.target.condition is c for row in labelled)]
    weightings = [
        w
        for w in SagittalWeighting
        if any(r.weighting is w and r.truth is not None for r in point_rows)
    ]
    total = len(LEVELS) * (len(conditions) + len(weightings))
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        observe(done, total)

    observe(done, total)
    grade_groups: list[GradeGroup] = []
    competition: Mapping[str, Estimate] = {}
    if labelled:
        samples = _Samples([row.study_id for row in labelled], resamples, seed)
        for condition in conditions:
            of_condition = [row for row in labelled if row.target.condition is condition]
            for level in LEVELS:
                rows = [row for row in of_condition if level in (None, row.target.level)]
                grade_groups.append(_grade_group(condition, level, rows, samples))
                step()
        if set(conditions) == set(Condition):
            competition = _competition(labelled, samples)
    point_groups: list[PointGroup] = []
    for weighting in weightings:
        of_weighting = [row for row in point_rows if row.weighting is weighting]
        point_groups += _point_groups(weighting, of_weighting, resamples, seed, step)
    return Evaluation(
        task, grades, points, tuple(grade_groups), tuple(point_groups), competition, resamples, seed
    )


class _Samples:
    """The studies of a sheet in the order of their names, and how often each is drawn.

    Row 0 of `counts` is the observed sample, as in `worker.evaluation.bootstrap.draw`.
    """

    def __init__(self, studies: Sequence[str], resamples: int, seed: int) -> None:
        self.names = sorted(set(studies))
        self.counts = draw(len(self.names), resamples, seed)
        self._index = {name: k for k, name in enumerate(self.names)}

    def indices(self, studies: Sequence[str]) -> NDArray[np.int64]:
        """The indices of these studies."""
        return np.array([self._index[study] for study in studies], dtype=np.int64)


def _arrays(rows: Sequence[GradePrediction]) -> tuple[Floats, Labels]:
    """Posteriors (n, 3) and labels (n,) of labelled rows."""
    posterior = [[row.posterior.of(severity) for severity in Severity] for row in rows]
    labels = [row.truth.rank for row in rows if row.truth is not None]
    return np.array(posterior, dtype=np.float64).reshape(-1, 3), np.array(labels, dtype=np.int64)


def _grade_group(
    condition: Condition, level: Level | None, rows: Sequence[GradePrediction], samples: _Samples
) -> GradeGroup:
    posterior, labels = _arrays(rows)
    study = samples.indices([row.study_id for row in rows])
    metrics = grade_metrics(posterior, labels, study, samples.counts)
    # The constant depends on the labels alone: it is a reference, reported without an interval.
    metrics["constant_log_loss"] = np.array([constant_log_loss(labels)])
    return GradeGroup(
        condition=condition,
        level=level,
        n=len(rows),
        studies=len(np.unique(study)),
        counts=tuple(np.bincount(labels, minlength=len(Severity)).tolist()),
        metrics={name: estimate(metrics[name]) for name in GRADE_METRICS},
        classes={
            severity: {name: estimate(metrics[f"{severity}.{name}"]) for name in CLASS_METRICS}
            for severity in Severity
        },
        confusion=confusion(posterior, labels),
        curves=curves(posterior, labels),
    )


def _competition(rows: Sequence[GradePrediction], samples: _Samples) -> dict[str, Estimate]:
    """The challenge's score: the mean of three losses and of any_severe_spinal."""
    parts: dict[str, Floats] = {}
    for condition in Condition:
        of_condition = [row for row in rows if row.target.condition is condition]
        posterior, labels = _arrays(of_condition)
        studies = [row.study_id for row in of_condition]
        metrics = grade_metrics(posterior, labels, samples.indices(studies), samples.counts)
        parts[condition] = metrics["weighted_log_loss"]
        if condition is Condition.SPINAL_CANAL_STENOSIS:
            names, table = any_severe_spinal(studies, weighted(posterior), labels)
            counts = samples.counts[:, samples.indices(names)]
            parts["any_severe_spinal"] = any_severe_log_loss(table, counts)
    score = np.mean(list(parts.values()), axis=0)
    return {name: estimate(values) for name, values in {"score": score, **parts}.items()}


def _point_groups(
    weighting: SagittalWeighting,
    rows: Sequence[PointPrediction],
    resamples: int,
    seed: int,
    step: Callable[[], None],
) -> list[PointGroup]:
    samples = _Samples([row.study_id for row in rows if row.truth is not None], resamples, seed)
    marked = marked_points(rows, samples.names)
    coco = average_precision(rows)
    groups = []
    for level in LEVELS:
        at_level = marked.at(level)
        studies = len(np.unique(at_level.study))
        metrics = {
            name: share_estimate(values, studies) if name in SHARES else estimate(values)
            for name, values in point_metrics(at_level, samples.counts).items()
        }
        ap, ar = coco.get(level, (None, None))
        errors = np.sort(at_level.error[np.isfinite(at_level.error)])
        groups.append(
            PointGroup(
                weighting=weighting,
                level=level,
                n=len(at_level.error),
                studies=studies,
                metrics=metrics | {"ap": Estimate(ap), "ar": Estimate(ar)},
                errors=tuple(errors.tolist()),
            )
        )
        step()
    return groups


def _grade_order(row: GradePrediction) -> tuple[object, ...]:
    target, posterior = row.target, (row.posterior.of(severity) for severity in Severity)
    place = (target.condition.value, target.level.value, target.side or "")
    return (row.study_id, row.file, *place, row.truth or "", *posterior)


def _point_order(row: PointPrediction) -> tuple[object, ...]:
    return (
        row.study_id,
        row.file,
        row.weighting.value,
        row.level.value,
        row.truth or (),
        row.found or (),
        row.confidence,
    )
