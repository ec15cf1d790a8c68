"""An evaluation in a terminal of 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dicom_sr.findings import Condition
from worker.evaluation.acceptance import Verdict, verdicts
from worker.evaluation.labels import (
    COMPETITION,
    GRADE_METRICS,
    PICTURES,
    PLACES,
    POINT_METRICS,
    TITLES,
    MetricFormat,
    level_words,
    problems_sentence,
    provenance_sentence,
)
from worker.evaluation.predictions import Weighting
from worker.evaluation.results import Evaluation, GradeGroup, PointGroup, RunInfo

VERDICTS: Final = {True: ("met", "green"), False: ("MISSED", "bold red"), None: ("-", "dim")}

GRADE_COLUMNS: Final = (
    *("weighted_log_loss", "constant_log_loss", "auc_severe", "sensitivity_severe"),
    *("accuracy", "balanced_accuracy", "linear_kappa", "ece_severe"),
)
POINT_COLUMNS: Final = (
    *("found", "right", "level_right", "study_right"),
    *("median_error", "p90_error", "median_error_mm", "ap", "ar"),
)


def evaluation_table(evaluation: Evaluation, about: RunInfo) -> RenderableType:
    """The figures against their bars, those of every level, and where they come from."""
    return Group(*_parts(evaluation, about))


def _parts(evaluation: Evaluation, about: RunInfo) -> Iterator[RenderableType]:
    yield Text(TITLES[evaluation.task], style="bold")
    yield Text(f"bundle {about.bundle_name} {about.bundle_version}", style="dim")
    if evaluation.competition:
        yield _competition(evaluation)
    if judged := verdicts(evaluation):
        yield _verdicts(judged)
    for condition in Condition:
        groups = [g for g in evaluation.grade_groups if g.condition is condition]
        if groups:
            yield _by_level(PLACES[condition], groups, GRADE_METRICS, GRADE_COLUMNS)
    for weighting in Weighting:
        points = [g for g in evaluation.point_groups if g.weighting is weighting]
        if points:
            yield _by_level(PICTURES[weighting], points, POINT_METRICS, POINT_COLUMNS)
    if not evaluation.grade_groups and not evaluation.point_groups:
        yield Text("Nothing here is labelled: there are predictions, but no figures.")
    for sentence in sentences(evaluation):
        yield Text(sentence)


def sentences(evaluation: Evaluation) -> tuple[str, ...]:
    """Where the figures come from and what the intervals are, each a sentence."""
    origins = [
        (what, provenance_sentence(sheet.provenance))
        for what, sheet in (("Grades", evaluation.grades), ("Points", evaluation.points))
        if sheet is not None
    ]
    said = dict.fromkeys(sentence for _, sentence in origins)
    if len(said) > 1:
        said = dict.fromkeys(f"{what}: {sentence}" for what, sentence in origins)
    interval = (
        f"Intervals: 95 %, {evaluation.resamples} resamples of whole studies."
        if evaluation.grade_groups or evaluation.point_groups
        else ""
    )
    everything = (*said, interval, problems_sentence(len(evaluation.problems)))
    return tuple(filter(None, everything))


def _table(title: str) -> Table:
    return Table(box=box.HORIZONTALS, padding=(0, 1, 0, 0), title=title, title_justify="left")


def _competition(evaluation: Evaluation) -> Table:
    table = _table("Score of the challenge")
    table.add_column("Part", no_wrap=True)
    for name in (COMPETITION.label, "95 % interval"):
        table.add_column(name, justify="right")
    for name, figure in evaluation.competition.items():
        style = "bold" if name == "score" else ""
        words = name.replace("_", " ")
        table.add_row(
            words, COMPETITION.value(figure.value), COMPETITION.interval(figure), style=style
        )
    return table


def _verdicts(judged: Sequence[Verdict]) -> Table:
    table = _table("Against the bars")
    table.add_column("Estimate", no_wrap=True)
    for name in ("value", "95 % interval", "bar"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    about = ""
    for verdict in judged:
        if verdict.about != about:
            table.add_section()
            table.add_row(Text(verdict.about, style="bold"))
        about = verdict.about
        word, style = VERDICTS[verdict.met]
        table.add_row(
            f"  {verdict.style.label}",
            verdict.style.value(verdict.figure.value),
            verdict.style.interval(verdict.figure),
            verdict.bar_words,
            Text(verdict.remark or word, style=style),
        )
    return table


def _by_level(
    title: str,
    groups: Sequence[GradeGroup] | Sequence[PointGroup],
    styles: Mapping[str, MetricFormat],
    columns: Sequence[str],
) -> Table:
    """One row a level; columns that say nothing at any level are left out."""
    shown = [n for n in columns if any(g.metrics[n].value is not None for g in groups)]
    table = _table(title)
    table.add_column("", no_wrap=True)
    for name in ("n", *(styles[name].short for name in shown)):
        table.add_column(name.replace(" ", "\n"), justify="right", vertical="bottom")
    for group in groups:
        figures = [(styles[name], group.metrics[name]) for name in shown]
        values = (style.value(figure.value) for style, figure in figures)
        table.add_row(level_words(group.level), f"{group.n:,}", *values)
        if group.level is None:
            for words, bounds in (
                ("95 % from", [style.bound(figure.low) for style, figure in figures]),
                ("to", [style.bound(figure.high) for style, figure in figures]),
            ):
                table.add_row(words, "", *bounds, style="dim")
            table.add_section()
    return table
