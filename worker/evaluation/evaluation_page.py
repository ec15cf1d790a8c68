"""index.html: every metric and plot of an evaluation on one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from dicom_sr.findings import Condition, Severity
from worker.evaluation.acceptance import acceptance_results
from worker.evaluation.evaluation_table import sentences
from worker.evaluation.grade_plots import grade_plots
from worker.evaluation.labels import (
    COMPETITION,
    GRADE_METRICS,
    IMAGES,
    PLACES,
    POINT_METRICS,
    TITLES,
    MetricFormat,
    level_label,
)
from worker.evaluation.point_plots import point_plots
from worker.evaluation.predictions import SagittalWeighting
from worker.evaluation.results import Estimate, Evaluation, GradeGroup, PointGroup, RunInfo

NOTICE: Final = "Research use only: metrics of labelled images, not a finding about a patient"

SHOWN_PROBLEMS: Final = 200

_SHARE: Final = MetricFormat("", "", 100, 1, " %")

_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("worker.evaluation"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def evaluation_page(evaluation: Evaluation, run: RunInfo) -> str:
    """The page as HTML with embedded style and plots; it holds no patient image.

    The same evaluation gives the same page. Raises BadSettings if matplotlib is missing.
    """
    sections = [
        *(_grades(condition, evaluation) for condition in Condition),
        *(_points(weighting, evaluation) for weighting in SagittalWeighting),
    ]
    return _ENVIRONMENT.get_template("evaluation.html.jinja").render(
        title=TITLES[evaluation.task],
        notice=NOTICE,
        run=run,
        sentences=sentences(evaluation),
        competition=[
            {"name": name.replace("_", " "), **_cell(COMPETITION, estimate)}
            for name, estimate in evaluation.competition.items()
        ],
        acceptance=[
            {
                "group": result.group,
                "name": result.style.label,
                **_cell(result.style, result.estimate),
                "criterion": result.criterion,
                "met": result.met,
                "remark": result.remark,
            }
            for result in acceptance_results(evaluation)
        ],
        sections=[section for section in sections if section is not None],
        problems=evaluation.problems[:SHOWN_PROBLEMS],
        more_problems=max(0, len(evaluation.problems) - SHOWN_PROBLEMS),
    )


def _grades(condition: Condition, evaluation: Evaluation) -> Mapping[str, Any] | None:
    groups = [g for g in evaluation.grade_groups if g.condition is condition]
    if not groups:
        return None
    whole, *levels = groups
    counts = ", ".join(
        f"{n:,} {severity.label}" for severity, n in zip(Severity, whole.counts, strict=True)
    )
    return {
        "id": condition.value,
        "title": PLACES[condition],
        "lead": f"{whole.n:,} grades of {whole.studies:,} studies: {counts}.",
        "table": _table(groups, GRADE_METRICS),
        "classes": _classes(whole),
        "plots": grade_plots(whole, levels),
    }


def _points(weighting: SagittalWeighting, evaluation: Evaluation) -> Mapping[str, Any] | None:
    groups = [g for g in evaluation.point_groups if g.weighting is weighting]
    if not groups:
        return None
    whole, *levels = groups
    return {
        "id": weighting.value,
        "title": IMAGES[weighting],
        "lead": f"{whole.n:,} marked points of {whole.studies:,} studies. A level that was "
        "not found counts as wrong; errors are those of the found levels.",
        "table": _table(groups, POINT_METRICS),
        "classes": None,
        "plots": point_plots(whole, levels),
    }


def _table(
    groups: Sequence[GradeGroup] | Sequence[PointGroup], styles: Mapping[str, MetricFormat]
) -> Mapping[str, Any]:
    """One row per metric, one column per level; metrics without any value are left out."""
    rows = []
    for name, style in styles.items():
        estimates = [group.metrics[name] for group in groups]
        if any(estimate.value is not None for estimate in estimates):
            cells = [_cell(style, estimate) for estimate in estimates]
            rows.append({"name": style.label, "cells": cells})
    return {
        "columns": [{"name": level_label(group.level), "n": f"{group.n:,}"} for group in groups],
        "rows": rows,
    }


def _classes(group: GradeGroup) -> list[Mapping[str, Any]]:
    return [
        {
            "severity": severity,
            "n": f"{group.counts[severity.rank]:,}",
            "cells": [_cell(_SHARE, estimate) for estimate in group.classes[severity].values()],
        }
        for severity in Severity
    ]


def _cell(style: MetricFormat, estimate: Estimate) -> dict[str, str]:
    return {"value": style.value(estimate.value), "interval": style.interval(estimate)}
