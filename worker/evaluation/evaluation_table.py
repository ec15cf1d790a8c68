"""The tables of an evaluation for a terminal of 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dicom_sr.findings import Condition
from worker.evaluation.acceptance import AcceptanceResult, acceptance_results
from worker.evaluation.labels import (
    COMPETITION,
    GRADE_METRICS,
    IMAGES,
    PLACES,
    POINT_METRICS,
    TITLES,
    MetricFormat,
    level_label,
    problems_sentence,
    provenance_sentence,
)
from worker.evaluation.predictions import SagittalWeighting
from worker.evaluation.results import Evaluation, GradeGroup, PointGroup, RunInfo

RESULTS: Final = {True: ("met", "green"), False: ("MISSED", "bold red"), None: ("-", "dim")}

GRADE_COLUMNS: Final = (
    *("weighted_log_loss", "constant_log_loss", "auc_severe", "sensitivity_severe"),
    *("accuracy", "balanced_accuracy", "linear_kappa", "ece_severe"),
)
POINT_COLUMNS: Final = (
    *("found", "right", "level_right", "study_right"),
    *("median_error", "p90_error", "median_error_mm", "ap", "ar"),
)


def evaluation_table(evaluation: Evaluation, run: RunInfo) -> RenderableType:
    """The acceptance criteria, the metrics of every level, and the source of the predictions."""
    return Group(*_parts(evaluation, run))


def _parts(evaluation: Evaluation, run: RunInfo) -> Iterator[RenderableType]:
    yield Text(TITLES[evaluation.task], style="bold")
    yield Text(f"bundle {run.bundle_name} {run.bundle_version}", style="dim")
    if evaluation.competition:
        yield _competition(evaluation)
    if results := acceptance_results(evaluation):
        yield _acceptance(results)
    for condition in Condition:
        groups = [g for g in evaluation.grade_groups if g.condition is condition]
        if groups:
            yield _by_level(PLACES[condition], groups, GRADE_METRICS, GRADE_COLUMNS)
    for weighting in SagittalWeighting:
        points = [g for g in evaluation.point_groups if g.weighting is weighting]
        if points:
            yield _by_level(IMAGES[weighting], points, POINT_METRICS, POINT_COLUMNS)
    if not evaluation.grade_groups and not evaluation.point_groups:
        yield Text("No row has a label: there are predictions, but no metrics.")
    for sentence in sentences(evaluation):
        yield Text(sentence)


def sentences(evaluation: Evaluation) -> tuple[str, ...]:
    """The source of the predictions, the kind of intervals and the problems, as sentences."""
    origins = [
        (what, provenance_sentence(sheet.provenance))
        for what, sheet in (("Grades", evaluation.grades), ("Points", evaluation.points))
        if sheet is not None
    ]
    provenance = dict.fromkeys(sentence for _, sentence in origins)
    if len(provenance) > 1:
        provenance = dict.fromkeys(f"{what}: {sentence}" for what, sentence in origins)
    interval = (
        f"Intervals: 95 %, {evaluation.resamples} resamples of whole studies."
        if evaluation.grade_groups or evaluation.point_groups
        else ""
    )
    problems = problems_sentence(len(evaluation.problems))
    return tuple(filter(None, (*provenance, interval, problems)))


def _table(title: str) -> Table:
    return Table(box=box.HORIZONTALS, padding=(0, 1, 0, 0), title=title, title_justify="left")


def _competition(evaluation: Evaluation) -> Table:
    table = _table("Challenge score")
    table.add_column("Part", no_wrap=True)
    for name in (COMPETITION.label, "95 % interval"):
        table.add_column(name, justify="right")
    for name, estimate in evaluation.competition.items():
        style = "bold" if name == "score" else ""
        table.add_row(
            name.replace("_", " "),
            COMPETITION.value(estimate.value),
            COMPETITION.interval(estimate),
            style=style,
        )
    return table


def _acceptance(results: Sequence[AcceptanceResult]) -> Table:
    table = _table("Acceptance criteria")
    table.add_column("Metric", no_wrap=True)
    for name in ("value", "95 % interval", "criterion"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    group = ""
    for result in results:
        if result.group != group:
            table.add_section()
            table.add_row(Text(result.group, style="bold"))
        group = result.group
        status, style = RESULTS[result.met]
        table.add_row(
            f"  {result.style.label}",
            result.style.value(result.estimate.value),
            result.style.interval(result.estimate),
            result.criterion,
            Text(result.remark or status, style=style),
        )
    return table


def _by_level(
    title: str,
    groups: Sequence[GradeGroup] | Sequence[PointGroup],
    styles: Mapping[str, MetricFormat],
    columns: Sequence[str],
) -> Table:
    """One row per level; columns without any value are left out."""
    shown = [n for n in columns if any(g.metrics[n].value is not None for g in groups)]
    table = _table(title)
    table.add_column("", no_wrap=True)
    for name in ("n", *(styles[name].short for name in shown)):
        table.add_column(name.replace(" ", "\n"), justify="right", vertical="bottom")
    for group in groups:
        estimates = [(styles[name], group.metrics[name]) for name in shown]
        values = (style.value(estimate.value) for style, estimate in estimates)
        table.add_row(level_label(group.level), f"{group.n:,}", *values)
        if group.level is None:
            for label, bounds in (
                ("95 % from", [style.bound(estimate.low) for style, estimate in estimates]),
                ("to", [style.bound(estimate.high) for style, estimate in estimates]),
            ):
                table.add_row(label, "", *bounds, style="dim")
            table.add_section()
    return table
