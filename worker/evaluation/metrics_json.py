"""metrics.json: every figure with its interval, and what it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dicom_sr.findings import Severity
from worker import __version__
from worker.evaluation.acceptance import verdicts
from worker.evaluation.bootstrap import LEVEL
from worker.evaluation.labels import provenance_sentence
from worker.evaluation.predictions import GradeSheet, PointSheet
from worker.evaluation.results import Estimate, Evaluation, GradeGroup, PointGroup, RunInfo

ALL: Final = "all"
"""The key of the group of all levels, beside the levels' names."""

DIGITS: Final = 6


def as_json(evaluation: Evaluation, about: RunInfo) -> dict[str, Any]:
    """The evaluation as JSON types; numbers rounded to 1e-6.

    `grades[condition][level or "all"]` and `points["t1" or "t2"][level or "all"]` hold the
    groups; each figure is {value, low, high}, null where it is not defined.
    """
    return {
        "task": evaluation.task.value,
        "lumbar": __version__,
        "bundle": {
            "name": about.bundle_name,
            "version": about.bundle_version,
            "sha256": about.bundle_sha256,
        },
        "inputs": dict(about.inputs),
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
                "what": verdict.about,
                "figure": verdict.name,
                **_figure(verdict.figure),
                "bar": verdict.bar,
                "at_most": verdict.at_most,
                "met": verdict.met,
                "remark": verdict.remark,
            }
            for verdict in verdicts(evaluation)
        ],
        "grades": _nested((g.condition, g.level, _grades(g)) for g in evaluation.grade_groups),
        "competition": _figures(evaluation.competition),
        "points": _nested((g.weighting, g.level, _points(g)) for g in evaluation.point_groups),
    }


def _nested(groups: Any) -> dict[str, dict[str, Any]]:  # noqa: ANN401  keys and content in turn
    nested: dict[str, dict[str, Any]] = {}
    for kind, level, content in groups:
        nested.setdefault(kind.value, {})[ALL if level is None else level.value] = content
    return nested


def _grades(group: GradeGroup) -> dict[str, Any]:
    names = [severity.value for severity in Severity]
    return {
        "n": group.n,
        "studies": group.studies,
        "counts": dict(zip(names, group.counts, strict=True)),
        "figures": _figures(group.metrics),
        "classes": {name: _figures(figures) for name, figures in group.classes.items()},
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
    return {"n": group.n, "studies": group.studies, "figures": _figures(group.metrics)}


def _provenance(sheet: GradeSheet | PointSheet) -> dict[str, Any]:
    provenance = sheet.provenance
    return {
        "rows": len(sheet.rows),
        "held_out": provenance.held_out,
        "unknown": provenance.unknown,
        "left_out": provenance.left_out,
        "sentence": provenance_sentence(provenance),
    }


def _figures(figures: Mapping[str, Estimate]) -> dict[str, Any]:
    return {str(name): _figure(figure) for name, figure in figures.items()}


def _figure(figure: Estimate) -> dict[str, float | None]:
    return {
        "value": _round(figure.value),
        "low": _round(figure.low),
        "high": _round(figure.high),
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
