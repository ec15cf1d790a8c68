"""From a sheet of predictions to its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import Condition, Level, Severity
from worker.evaluation.bootstrap import RESAMPLES, Floats, draw, figure, share_figure
from worker.evaluation.detection import average_precision
from worker.evaluation.figures import Evaluation, Figure, GradeGroup, PointGroup, Task
from worker.evaluation.grade_figures import class_figures, confusion, curves, scalar_figures
from worker.evaluation.grade_resampling import resampled_figures
from worker.evaluation.point_figures import SHARES, marks, point_figures, resampled_points
from worker.evaluation.predictions import (
    GradePrediction,
    GradeSheet,
    PointPrediction,
    PointSheet,
    Weighting,
)
from worker.evaluation.scores import (
    any_severe_log_loss,
    any_severe_spinal,
    weighted,
    weighted_log_loss,
)

Observe = Callable[[int, int], None]
"""Told how many groups of how many are done."""

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
    """All figures of the labelled rows, with intervals over `resamples` draws of studies.

    The order of rows changes nothing, and the same seed gives the same intervals. Raises
    BadSettings where a library of the extra `train` is needed and absent.
    """
    rows = sorted(() if grades is None else grades.rows, key=_grade_order)
    labelled = [row for row in rows if row.truth is not None]
    spots = sorted(() if points is None else points.rows, key=_point_order)
    conditions = [c for c in Condition if any(row.target.condition is c for row in labelled)]
    weightings = [
        w for w in Weighting if any(r.weighting is w and r.truth is not None for r in spots)
    ]
    total = len(LEVELS) * (len(conditions) + len(weightings))
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        observe(done, total)

    observe(done, total)
    grade_groups: list[GradeGroup] = []
    competition: Mapping[str, Figure] = {}
    if labelled:
        drawn = _Drawn([row.study_id for row in labelled], resamples, seed)
        for condition in conditions:
            of_it = [row for row in labelled if row.target.condition is condition]
            for level in LEVELS:
                here = [row for row in of_it if level in (None, row.target.level)]
                grade_groups.append(_grade_group(condition, level, here, drawn))
                step()
        if set(conditions) == set(Condition):
            competition = _competition(labelled, drawn)
    point_groups: list[PointGroup] = []
    for weighting in weightings:
        on_it = [row for row in spots if row.weighting is weighting]
        point_groups += _point_groups(weighting, on_it, resamples, seed, step)
    return Evaluation(
        task, grades, points, tuple(grade_groups), tuple(point_groups), competition, resamples, seed
    )


class _Drawn:
    """The studies of a sheet in order of their names, and how often each was drawn."""

    def __init__(self, studies: Sequence[str], resamples: int, seed: int) -> None:
        self.names = sorted(set(studies))
        self.counts = draw(len(self.names), resamples, seed)
        self._number = {name: k for k, name in enumerate(self.names)}

    def of(self, studies: Sequence[str]) -> NDArray[np.int64]:
        """The numbers of these studies."""
        return np.array([self._number[study] for study in studies], dtype=np.int64)


def _arrays(rows: Sequence[GradePrediction]) -> tuple[Floats, NDArray[np.int64]]:
    """Posteriors (n, 3) and labels (n,) of labelled rows."""
    posterior = [[row.posterior.of(severity) for severity in Severity] for row in rows]
    labels = [row.truth.rank for row in rows if row.truth is not None]
    return np.array(posterior, dtype=np.float64).reshape(-1, 3), np.array(labels, dtype=np.int64)


def _grade_group(
    condition: Condition, level: Level | None, rows: Sequence[GradePrediction], drawn: _Drawn
) -> GradeGroup:
    posterior, labels = _arrays(rows)
    study = drawn.of([row.study_id for row in rows])
    again = resampled_figures(drawn.counts, study, posterior, labels) if len(rows) else {}
    return GradeGroup(
        condition=condition,
        level=level,
        n=len(rows),
        studies=len(np.unique(study)),
        counts=tuple(np.bincount(labels, minlength=len(Severity)).tolist()),
        figures={
            name: figure(value, again.get(name))
            for name, value in scalar_figures(posterior, labels).items()
        },
        classes={
            severity: {
                name: figure(value, again.get(f"{severity}.{name}"))
                for name, value in by_name.items()
            }
            for severity, by_name in class_figures(posterior, labels).items()
        },
        confusion=confusion(posterior, labels),
        curves=curves(posterior, labels),
    )


def _competition(rows: Sequence[GradePrediction], drawn: _Drawn) -> dict[str, Figure]:
    """The challenge's score: the mean of three losses and of any_severe_spinal."""
    values: dict[str, float] = {}
    again: dict[str, Floats] = {}
    for condition in Condition:
        of_it = [row for row in rows if row.target.condition is condition]
        posterior, labels = _arrays(of_it)
        studies = [row.study_id for row in of_it]
        values[condition] = weighted_log_loss(weighted(posterior), labels)
        again[condition] = resampled_figures(drawn.counts, drawn.of(studies), posterior, labels)[
            "weighted_log_loss"
        ]
        if condition is Condition.SPINAL_CANAL_STENOSIS:
            names, table = any_severe_spinal(studies, weighted(posterior), labels)
            values["any_severe_spinal"] = any_severe_log_loss(table)
            again["any_severe_spinal"] = _any_severe_again(drawn.counts[:, drawn.of(names)], table)
    parts = list(values)
    values["score"] = float(np.mean([values[part] for part in parts]))
    again["score"] = np.mean([again[part] for part in parts], axis=0)
    return {name: figure(values[name], again[name]) for name in ("score", *parts)}


def _any_severe_again(counts: Floats, table: Floats) -> Floats:
    severe, label, weight = table.T
    eps = np.finfo(np.float64).eps
    own = np.clip(np.where(label > 0, severe, 1 - severe), eps, 1)
    with np.errstate(invalid="ignore"):
        again: Floats = (counts @ (-np.log(own) * weight)) / (counts @ weight)
    return again


def _point_groups(
    weighting: Weighting,
    rows: Sequence[PointPrediction],
    resamples: int,
    seed: int,
    step: Callable[[], None],
) -> list[PointGroup]:
    drawn = _Drawn([row.study_id for row in rows if row.truth is not None], resamples, seed)
    marked = marks(rows, drawn.names)
    coco = average_precision(rows)
    groups = []
    for level in LEVELS:
        here = marked.at(level)
        again = resampled_points(drawn.counts, here)
        studies = len(np.unique(here.study))
        figures = {
            name: share_figure(value, again[name], studies)
            if name in SHARES
            else figure(value, again[name])
            for name, value in point_figures(here).items()
        }
        ap, ar = coco.get(level, (None, None))
        found = np.sort(here.error[np.isfinite(here.error)])
        groups.append(
            PointGroup(
                weighting=weighting,
                level=level,
                n=len(here.error),
                studies=studies,
                figures=figures | {"ap": Figure(ap), "ar": Figure(ar)},
                errors=tuple(found.tolist()),
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
