"""The plots of one condition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from dicom_sr.findings import Severity
from worker.evaluation.labels import GRADE_METRICS
from worker.evaluation.plot_canvas import (
    INK,
    LINE,
    MODERATE,
    NORMAL,
    SEVERE,
    SOFT,
    Canvas,
    Plot,
    error_bars,
    percent_axis,
    plot_style,
)
from worker.evaluation.results import GradeGroup

_ROC: Final = {"auc_moderate_or_worse": MODERATE, "auc_severe": SEVERE}
_CLASSES: Final = [severity.label for severity in Severity]


def grade_plots(whole: GradeGroup, levels: Sequence[GradeGroup]) -> tuple[Plot, ...]:
    """The plots of a condition over all levels, then those by level."""
    measured = [group for group in levels if group.n]
    with plot_style():
        plots = [confusion_plot(whole)]
        if whole.curves.roc:
            plots.append(roc_plot(whole))
        plots += [reliability_plot(whole), coverage_plot(whole)]
        plots += [loss_plot(measured), auc_plot(measured)]
    return tuple(plots)


def confusion_plot(group: GradeGroup) -> Plot:
    """Truth against decision, coloured by the share of each true class."""
    canvas = Canvas()
    axes = canvas.axes
    table = np.array(group.confusion, dtype=np.float64)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for truth, decision in np.ndindex(table.shape):
        share = shares[truth, decision]
        colour = "white" if share > 0.55 else INK
        place = (decision, truth)
        axes.text(
            *place, f"{table[truth, decision]:,.0f}\n", ha="center", va="center", color=colour,
            fontweight="bold", fontsize=11,
        )  # fmt: skip
        axes.text(*place, f"\n{share:.1%}", ha="center", va="center", color=colour, fontsize=8.5)
    axes.set_xticks(range(3), _CLASSES)
    axes.set_yticks(range(3), _CLASSES, rotation=90, va="center")
    axes.tick_params(length=0, colors=INK)
    axes.set_xlabel("decision")
    axes.set_ylabel("truth")
    return canvas.plot("Confusion", "Confusion matrix: rows are the truth, columns the decision")


def roc_plot(group: GradeGroup) -> Plot:
    """Sensitivity over the false positive rate, for severe and for moderate or worse."""
    canvas = Canvas()
    axes = canvas.axes
    axes.plot([0, 1], [0, 1], color=LINE, linewidth=1)
    axes.axvline(0.05, color=SOFT, linewidth=0.8, linestyle=":")
    axes.text(0.06, 0.02, "95 % specificity", color=SOFT, fontsize=7.5, rotation=90, va="bottom")
    for name, (false, true) in group.curves.roc.items():
        label = GRADE_METRICS[name].label.removeprefix("AUC ")
        area = GRADE_METRICS[name].value(group.metrics[name].value)
        axes.plot(false, true, color=_ROC[name], linewidth=1.7, label=f"{label}, area {area}")
    axes.set_xlim(-0.01, 1)
    axes.set_ylim(0, 1.01)
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
    axes.set_xlabel("1 - specificity")
    axes.set_ylabel("sensitivity")
    axes.legend(loc="lower right")
    return canvas.plot("ROC curves", "ROC curves of severe and of moderate or worse")


def reliability_plot(group: GradeGroup) -> Plot:
    """Observed share over the posterior of severe; the area of a marker is the number of rows."""
    canvas = Canvas()
    axes = canvas.axes
    bins = group.curves.reliability
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle=":")
    x, y = [b.predicted for b in bins], [b.observed for b in bins]
    axes.plot(x, y, color=SEVERE, linewidth=1.2, alpha=0.6)
    most = max((b.n for b in bins), default=1)
    # Markers below a minimum area would be invisible.
    axes.scatter(x, y, s=[14 + 140 * b.n / most for b in bins], color=SEVERE, alpha=0.75, lw=0)
    for point in bins:
        axes.annotate(
            f"{point.n:,}", (point.predicted, point.observed), xytext=(6, -9),
            textcoords="offset points", fontsize=6.5, color=SOFT,
        )  # fmt: skip
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
    axes.set_xlabel("posterior of severe")
    axes.set_ylabel("share that is severe")
    ece = GRADE_METRICS["ece_severe"].value(group.metrics["ece_severe"].value)
    axes.text(0.98, 0.03, f"ECE {ece}", transform=axes.transAxes, ha="right")
    return canvas.plot("Reliability of severe", "Reliability diagram of the severe posterior")


def coverage_plot(group: GradeGroup) -> Plot:
    """Accuracy over the share of rows that are graded, the most confident first."""
    canvas = Canvas()
    axes = canvas.axes
    curve = group.curves.coverage
    axes.plot([c.coverage for c in curve], [c.accuracy for c in curve], color=NORMAL, linewidth=1.7)
    axes.set_xlim(0, 1.01)
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
    axes.set_xlabel("share graded, most confident first")
    axes.set_ylabel("accuracy")
    return canvas.plot("Coverage and accuracy", "Accuracy over coverage, by confidence")


def loss_plot(levels: Sequence[GradeGroup]) -> Plot:
    """The loss of each level with its interval, and the loss of the best constant."""
    canvas = Canvas()
    axes = canvas.axes
    places = np.arange(len(levels))
    losses = [group.metrics["weighted_log_loss"] for group in levels]
    axes.bar(places, [f.value or 0 for f in losses], width=0.55, color=NORMAL, alpha=0.85)
    axes.errorbar(
        places, [f.value or 0 for f in losses], yerr=error_bars(losses), fmt="none", ecolor=INK,
        elinewidth=1, capsize=3,
    )  # fmt: skip
    constants = [group.metrics["constant_log_loss"].value or 0 for group in levels]
    axes.hlines(
        constants, places - 0.36, places + 0.36, color=SOFT, linestyle="--", linewidth=1.2,
        label="best constant",
    )  # fmt: skip
    axes.set_xticks(places, [str(group.level) for group in levels])
    axes.set_ylim(0, 1.3 * max((*constants, *(f.high or f.value or 0 for f in losses)), default=1))
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("weighted log loss")
    axes.legend(loc="upper left")
    return canvas.plot("Loss by level", "Weighted log loss of every level with its interval")


def auc_plot(levels: Sequence[GradeGroup]) -> Plot:
    """Both AUCs of each level with their intervals."""
    canvas = Canvas()
    axes = canvas.axes
    lowest = 0.9
    for shift, (name, colour) in zip((-0.1, 0.1), _ROC.items(), strict=True):
        known = [(k, g.metrics[name]) for k, g in enumerate(levels) if g.metrics[name].value]
        if not known:
            continue
        estimates = [estimate for _, estimate in known]
        lowest = min(lowest, *((f.low or f.value or 0) for f in estimates))
        axes.errorbar(
            [k + shift for k, _ in known], [f.value for f in estimates], yerr=error_bars(estimates),
            fmt="o", color=colour, markersize=5, elinewidth=1.2, capsize=3,
            label=GRADE_METRICS[name].label.removeprefix("AUC "),
        )  # fmt: skip
    axes.set_xticks(range(len(levels)), [str(group.level) for group in levels])
    axes.set_xlim(-0.5, len(levels) - 0.5)
    axes.set_ylim(max(0.0, lowest - 0.05), 1.005)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("area under the ROC curve")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right")
    return canvas.plot("AUC by level", "AUC of every level with its interval")
