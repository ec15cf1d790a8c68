"""The model card: a bundle's README, written from its card."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import jinja2

from dicom_sr.findings import Condition, Level, Severity
from worker.evaluation.labels import GRADE_METRICS, IMAGES, PLACES, POINT_METRICS, MetricFormat
from worker.evaluation.predictions import SagittalWeighting
from worker.models.card import Card

TEMPLATE: Final = "model_card.md.jinja"
HEADLINES: Final = ("weighted_log_loss", "auc_severe", "ece_severe", "accuracy")
POINT_HEADLINES: Final = ("median_error", "right", "study_right")


def headlines(card: Card) -> list[str]:
    """The main figures, a line for each part that was measured."""
    figures = card.figures
    lines = []
    for condition in Condition:
        if found := figures.get(condition.value):
            lines.append(f"{PLACES[condition]}: {_listed(found, HEADLINES, GRADE_METRICS)}")
    for weighting in SagittalWeighting:
        if found := figures.get(f"levels_{weighting.value}"):
            lines.append(f"{IMAGES[weighting]}: {_listed(found, POINT_HEADLINES, POINT_METRICS)}")
    return lines


def to_markdown(card: Card, device_uid: str) -> str:
    """The Markdown of a card: a figure that was not measured is a dash."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("worker.training", "."),
        autoescape=False,  # noqa: S701 - Markdown, from our own card
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    figures = card.figures
    conditions = [c for c in Condition if c.value in figures]
    weightings = [w for w in SagittalWeighting if f"levels_{w.value}" in figures]
    return environment.get_template(TEMPLATE).render(
        card=card,
        device_uid=device_uid,
        grade_table=_table(
            GRADE_METRICS, [PLACES[c] for c in conditions], [figures[c.value] for c in conditions]
        ),
        point_table=_table(
            POINT_METRICS,
            [IMAGES[w] for w in weightings],
            [figures[f"levels_{w.value}"] for w in weightings],
        ),
        conditions=[(PLACES[c], c, figures[c.value]) for c in conditions],
        weightings=[(IMAGES[w], figures[f"levels_{w.value}"]) for w in weightings],
        classes=[(s.label, s.value) for s in Severity],
        levels=[level.value for level in Level],
        cell=_cell,
        loss=GRADE_METRICS["weighted_log_loss"],
        auc=GRADE_METRICS["auc_severe"],
        percent=_percent,
        axial_points=figures.get("axial_points"),
    )


def _table(
    styles: Mapping[str, MetricFormat], heads: Sequence[str], columns: Sequence[Mapping[str, Any]]
) -> str:
    """A Markdown table: a row for each figure that any column has."""
    rows = [
        [style.label, *(_cell(column.get(name), style) for column in columns)]
        for name, style in styles.items()
        if any(name in column for column in columns)
    ]
    return "\n".join(map(_row, [["", *heads], ["---"] * (len(heads) + 1), *rows]))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(figure: Sequence[float] | None, style: MetricFormat) -> str:
    """A value with its interval."""
    if not figure:
        return "-"
    value = style.value(figure[0])
    if len(figure) < 3:
        return value
    return f"{value} ({style.bound(figure[1])} to {style.bound(figure[2])})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _listed(
    figures: Mapping[str, Any], names: Sequence[str], styles: Mapping[str, MetricFormat]
) -> str:
    return ", ".join(f"{styles[n].label} {_cell(figures.get(n), styles[n])}" for n in names)
