"""An evaluation as the figures of a bundle's card: plain numbers, each [value, low, high]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worker.evaluation.results import Coverage, Estimate, Evaluation
from worker.training.axial_detections import Detections
from worker.training.calibration import RIGHT_WITHIN


def grade_figures(evaluation: Evaluation) -> dict[str, Any]:
    """The figures of each condition, and of each of its levels."""
    figures: dict[str, Any] = {}
    for group in evaluation.grade_groups:
        measured = _measured(group.metrics)
        measured |= {
            f"{name}_{severity}": figure
            for severity, classes in group.classes.items()
            for name, figure in _measured(classes).items()
        }
        if group.level is not None:
            levels = figures[group.condition.value]["levels"]
            levels[group.level.value] = {"n": group.n, "counts": list(group.counts), **measured}
            continue
        figures[group.condition.value] = {
            "n": group.n,
            "studies": group.studies,
            "counts": list(group.counts),
            "confusion": [list(row) for row in group.confusion],
            **measured,
            "coverage_accuracy": [
                [round(c.coverage, 3), round(c.accuracy, 4)] for c in _tenths(group.curves.coverage)
            ],
            "levels": {},
        }
    return figures


def point_figures(evaluation: Evaluation) -> dict[str, Any]:
    """The figures of each kind of picture, all levels together."""
    return {
        f"levels_{group.weighting.value}": {
            "n": group.n,
            "studies": group.studies,
            **_measured(group.metrics),
        }
        for group in evaluation.point_groups
        if group.level is None
    }


def detection_figures(found: Detections) -> dict[str, Any]:
    """The figures of the axial network."""
    return {
        "n": len(found.errors),
        "median_error": [round(float(np.median(found.errors)), 4)],
        "right": [round(float((found.errors < RIGHT_WITHIN).mean()), 4)],
    }


def _measured(figures: Mapping[str, Estimate]) -> dict[str, list[float]]:
    """Figures as [value, low, high], those that could be computed."""
    return {
        name: [round(v, 4) for v in (f.value, f.low, f.high) if v is not None]
        for name, f in figures.items()
        if f.value is not None
    }


def _tenths(curve: Sequence[Coverage]) -> list[Coverage]:
    """About ten points of a curve, the ends included."""
    chosen = np.unique(np.linspace(0, len(curve) - 1, min(11, len(curve))).round().astype(int))
    return [curve[n] for n in chosen]
