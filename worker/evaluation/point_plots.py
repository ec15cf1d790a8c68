"""The plots of the points of one weighting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worker.evaluation.plot_canvas import (
    INK,
    MODERATE,
    NORMAL,
    SOFT,
    Canvas,
    Plot,
    error_bars,
    percent_axis,
    plot_style,
)
from worker.evaluation.point_metrics import TOLERANCE
from worker.evaluation.results import PointGroup


def point_plots(whole: PointGroup, levels: Sequence[PointGroup]) -> tuple[Plot, ...]:
    """The distribution of errors, and the errors and correct shares by level."""
    measured = [group for group in levels if group.n]
    with plot_style():
        return (errors_plot(whole), level_errors_plot(measured), shares_plot(measured))


def errors_plot(group: PointGroup) -> Plot:
    """The share of marked points detected within a distance; the rest to 100 % is missed."""
    canvas = Canvas()
    axes = canvas.axes
    reach = 2 * TOLERANCE
    errors = np.array([0.0, *group.errors])
    shares = np.arange(len(errors)) / max(group.n, 1)
    axes.step([*errors, reach], [*shares, shares[-1]], where="post", color=NORMAL, linewidth=1.7)
    axes.axvline(TOLERANCE, color=SOFT, linewidth=0.8, linestyle=":")
    axes.text(TOLERANCE, 0.02, " correct", color=SOFT, fontsize=7.5, ha="left")
    axes.set_xlim(0, reach)
    axes.set_ylim(0, 1.01)
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
    axes.set_xlabel("error (share of image width)")
    axes.set_ylabel("share of marked points")
    return canvas.plot("Error", "Cumulative distribution of the error of all marked points")


def level_errors_plot(levels: Sequence[PointGroup]) -> Plot:
    """Median and 90th percentile of the error at each level."""
    canvas = Canvas()
    axes = canvas.axes
    highest = TOLERANCE / 4
    for shift, name, colour, label in (
        (-0.1, "median_error", NORMAL, "median"),
        (0.1, "p90_error", MODERATE, "90th percentile"),
    ):
        known = [
            (k, g.metrics[name]) for k, g in enumerate(levels) if g.metrics[name].value is not None
        ]
        estimates = [estimate for _, estimate in known]
        highest = max((highest, *(f.high or f.value or 0 for f in estimates)))
        axes.errorbar(
            [k + shift for k, _ in known], [f.value for f in estimates], yerr=error_bars(estimates),
            fmt="o", color=colour, markersize=5, elinewidth=1.2, capsize=3, label=label,
        )  # fmt: skip
    _by_level(canvas, levels)
    axes.set_ylim(0, 1.25 * highest)  # room for the legend
    axes.set_ylabel("error (share of image width)")
    axes.legend(loc="upper left", ncols=2)
    return canvas.plot("Error by level", "Median and 90th percentile of the error of every level")


def shares_plot(levels: Sequence[PointGroup]) -> Plot:
    """The share of correct points at each level."""
    canvas = Canvas()
    axes = canvas.axes
    places = np.arange(len(levels))
    right = [group.metrics["right"] for group in levels]
    values = [estimate.value or 0 for estimate in right]
    axes.bar(places, values, width=0.55, color=NORMAL, alpha=0.85)
    axes.errorbar(
        places, values, yerr=error_bars(right), fmt="none", ecolor=INK, elinewidth=1, capsize=3
    )
    for place, value in zip(places, values, strict=True):
        axes.text(place, 0.03, f"{value:.1%}", ha="center", color="white", fontsize=8)
    _by_level(canvas, levels)
    axes.set_ylim(0, 1.01)
    axes.set_ylabel("share correct")
    return canvas.plot("Correct by level", "Share of correct points at every level")


def _by_level(canvas: Canvas, levels: Sequence[PointGroup]) -> None:
    axes = canvas.axes
    axes.set_xticks(range(len(levels)), [str(group.level) for group in levels])
    axes.set_xlim(-0.5, len(levels) - 0.5)
    axes.grid(visible=False, axis="x")
    percent_axis(axes.yaxis)
