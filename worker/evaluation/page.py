"""index.html: every figure and plot of an evaluation on one page of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from dicom_sr.findings import Condition, Severity
from worker.evaluation.acceptance import verdicts
from worker.evaluation.evaluation_table import sentences
from worker.evaluation.grade_plots import grade_plots
from worker.evaluation.labels import (
    COMPETITION,
    GRADE_METRICS,
    PICTURES,
    PLACES,
    POINT_METRICS,
    TITLES,
    MetricFormat,
    level_words,
)
from worker.evaluation.point_plots import point_plots
from worker.evaluation.predictions import Weighting
from worker.evaluation.results import Estimate, Evaluation, GradeGroup, PointGroup, RunInfo

NOTICE: Final = "Research use only: figures about labelled pictures, never about a patient"

SHOWN_PROBLEMS: Final = 200

_SHARE: Final = MetricFormat("", "", 100, 1, " %")

_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("worker.evaluation"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(evaluation: Evaluation, about: RunInfo) -> str:
    """The page as HTML, style and plots within; no picture of a patient is on it.

    The same evaluation gives the same page. Raises BadSettings where matplotlib is absent.
    """
    sections = [
        *(_grades(condition, evaluation) for condition in Condition),
        *(_points(weighting, evaluation) for weighting in Weighting),
    ]
    return _ENVIRONMENT.get_template("evaluation.html.jinja").render(
        title=TITLES[evaluation.task],
        notice=NOTICE,
        about=about,
        sentences=sentences(evaluation),
        competition=[
            {"name": name.replace("_", " "), **_cell(COMPETITION, figure)}
            for name, figure in evaluation.competition.items()
        ],
        verdicts=[
            {
                "about": verdict.about,
                "name": verdict.style.label,
                **_cell(verdict.style, verdict.figure),
                "bar": verdict.bar_words,
                "met": verdict.met,
                "remark": verdict.remark,
            }
            for verdict in verdicts(evaluation)
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


def _points(weighting: Weighting, evaluation: Evaluation) -> Mapping[str, Any] | None:
    groups = [g for g in evaluation.point_groups if g.weighting is weighting]
    if not groups:
        return None
    whole, *levels = groups
    return {
        "id": weighting.value,
        "title": PICTURES[weighting],
        "lead": f"{whole.n:,} marked points of {whole.studies:,} studies. A level that was "
        "not found is not right; errors are those of the found ones.",
        "table": _table(groups, POINT_METRICS),
        "classes": None,
        "plots": point_plots(whole, levels),
    }


def _table(
    groups: Sequence[GradeGroup] | Sequence[PointGroup], styles: Mapping[str, MetricFormat]
) -> Mapping[str, Any]:
    """Figures down, levels across; figures that nobody has are left out."""
    rows = []
    for name, style in styles.items():
        figures = [group.metrics[name] for group in groups]
        if any(figure.value is not None for figure in figures):
            cells = [_cell(style, figure) for figure in figures]
            rows.append({"name": style.label, "cells": cells})
    return {
        "columns": [{"name": level_words(group.level), "n": f"{group.n:,}"} for group in groups],
        "rows": rows,
    }


def _classes(group: GradeGroup) -> list[Mapping[str, Any]]:
    return [
        {
            "severity": severity,
            "n": f"{group.counts[severity.rank]:,}",
            "cells": [_cell(_SHARE, figure) for figure in group.classes[severity].values()],
        }
        for severity in Severity
    ]


def _cell(style: MetricFormat, figure: Estimate) -> dict[str, str]:
    return {"value": style.value(figure.value), "interval": style.interval(figure)}
