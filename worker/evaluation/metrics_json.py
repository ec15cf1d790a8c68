"""metrics.json: every metric with its interval, and the inputs of the evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dicom_sr.findings import Severity
from worker import __version__
from worker.evaluation.acceptance import acceptance_results
from worker.evaluation.bootstrap import LEVEL
from worker.evaluation.labels import provenance_sentence
from worker.evaluation.predictions import GradeSheet, PointSheet
from worker.evaluation.results import Estimate, Evaluation, GradeGroup, PointGroup, RunInfo

ALL_LEVELS: Final = "all"
"""The key of the group of all levels."""

DIGITS: Final = 6


def as_json(evaluation: Evaluation, run: RunInfo) -> dict[str, Any]:
    """The evaluation as JSON types; numbers rounded to 1e-6.

    `grades[condition][level or "all"]` and `points["t1" or "t2"][level or "all"]` hold the
    groups; each metric is {value, low, high}, null where it is not defined.
    """
    return {
        "task": evaluation.task.value,
        "lumbar": __version__,
        "bundle": {
            "name": run.bundle_name,
            "version": run.bundle_version,
            "sha256": run.bundle_sha256,
        },
        "inputs": dict(run.inputs),
        "provenance": {
            name: _provenance(sheet)
            for name, sheet in (("grades", evaluation.grades), ("points", evaluation.points))
            if sheet is not None
        },
        "problems": list(evaluation.problems),
        "bootstrap": {
            "unit": "study",
            "resamples": evaluation.resamples,
            "seed": evaluation.seed,
            "interval": LEVEL,
        },
        "bars": [
            {
                "what": result.group,
                "figure": result.metric,
                **_estimate(result.estimate),
                "bar": result.limit,
                "at_most": result.at_most,
                "met": result.met,
                "remark": result.remark,
            }
            for result in acceptance_results(evaluation)
        ],
        "grades": _nested((g.condition, g.level, _grades(g)) for g in evaluation.grade_groups),
        "competition": _estimates(evaluation.competition),
        "points": _nested((g.weighting, g.level, _points(g)) for g in evaluation.point_groups),
    }


def _nested(groups: Any) -> dict[str, dict[str, Any]]:  # noqa: ANN401  keys and content in turn
    nested: dict[str, dict[str, Any]] = {}
    for kind, level, content in groups:
        nested.setdefault(kind.value, {})[ALL_LEVELS if level is None else level.value] = content
    return nested


def _grades(group: GradeGroup) -> dict[str, Any]:
    names = [severity.value for severity in Severity]
    return {
        "n": group.n,
        "studies": group.studies,
        "counts": dict(zip(names, group.counts, strict=True)),
        "figures": _estimates(group.metrics),
        "classes": {name: _estimates(estimates) for name, estimates in group.classes.items()},
        "confusion": {
            truth: dict(zip(names, row, strict=True))
            for truth, row in zip(names, group.confusion, strict=True)
        },
        "reliability_severe": [
            {"n": b.n, "predicted": _round(b.predicted), "observed": _round(b.observed)}
            for b in group.curves.reliability
        ],
        "coverage": [
            {
                "coverage": _round(c.coverage),
                "threshold": _round(c.threshold),
                "accuracy": _round(c.accuracy),
            }
            for c in group.curves.coverage
        ],
    }


def _points(group: PointGroup) -> dict[str, Any]:
    return {"n": group.n, "studies": group.studies, "figures": _estimates(group.metrics)}


def _provenance(sheet: GradeSheet | PointSheet) -> dict[str, Any]:
    provenance = sheet.provenance
    return {
        "rows": len(sheet.rows),
        "held_out": provenance.held_out,
        "unknown": provenance.unknown,
        "left_out": provenance.left_out,
        "sentence": provenance_sentence(provenance),
    }


def _estimates(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {str(name): _estimate(estimate) for name, estimate in estimates.items()}


def _estimate(estimate: Estimate) -> dict[str, float | None]:
    return {
        "value": _round(estimate.value),
        "low": _round(estimate.low),
        "high": _round(estimate.high),
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
