"""Metrics of points, computed for the observed studies and for every resample at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import Level
from worker.evaluation.predictions import PointPrediction
from worker.evaluation.results import Floats

TOLERANCE: Final = 0.04
"""A detected point is correct within this fraction of the width."""

SHARES: Final = frozenset({"found", "right", "level_right", "study_right"})

QUANTILES: Final[Mapping[str, float]] = {"median": 0.5, "p90": 0.9}


@dataclass(frozen=True, eq=False)
class MarkedPoints:
    """Every marked point with the error of its detection, as arrays of shape (n,).

    `error` is in fractions of the width and `error_mm` in millimetres, both NaN where
    unknown. `level_right` is true where the detected point nearest to the mark, of all levels
    detected in that image, has the mark's level. `study` indexes the studies in the order of
    their names.
    """

    level: NDArray[np.str_]
    study: NDArray[np.int64]
    error: Floats
    error_mm: Floats
    level_right: NDArray[np.bool_]

    def at(self, level: Level | None) -> MarkedPoints:
        """The points of one level, or all of them for None."""
        if level is None:
            return self
        selected = self.level == level.value
        return MarkedPoints(
            self.level[selected],
            self.study[selected],
            self.error[selected],
            self.error_mm[selected],
            self.level_right[selected],
        )


def marked_points(rows: Sequence[PointPrediction], studies: Sequence[str]) -> MarkedPoints:
    """The marked points of these rows; `studies` holds the names of all their studies."""
    found: dict[str, list[PointPrediction]] = {}
    for row in rows:
        if row.found is not None:
            found.setdefault(row.file, []).append(row)
    number = {study: k for k, study in enumerate(studies)}
    marked = [row for row in rows if row.truth is not None]
    errors = [np.nan if row.error is None else row.error for row in marked]
    widths = [np.nan if row.width_mm is None else row.width_mm for row in marked]
    return MarkedPoints(
        level=np.array([row.level.value for row in marked], dtype=str),
        study=np.array([number[row.study_id] for row in marked], dtype=np.int64),
        error=np.array(errors, dtype=np.float64),
        error_mm=np.array(errors, dtype=np.float64) * np.array(widths, dtype=np.float64),
        level_right=np.array(
            [_nearest(row, found.get(row.file, [])) is row.level for row in marked], dtype=bool
        ),
    )


def point_metrics(marked: MarkedPoints, counts: Floats) -> dict[str, Floats]:
    """Metrics by name, each of shape (resamples,), NaN where undefined.

    `counts` (resamples, studies) says how often each study is drawn. Shares are relative to
    all marked points (`study_right`: to all studies), so a missed point is not correct; errors
    are those of the detected points.
    """
    found = np.isfinite(marked.error)
    right = found & (marked.error <= TOLERANCE)
    metrics = {
        "found": _mean(counts, marked.study, found),
        "right": _mean(counts, marked.study, right),
        "level_right": _mean(counts, marked.study, marked.level_right),
    }
    studies, place = np.unique(marked.study, return_inverse=True)
    all_right = np.ones(len(studies), dtype=bool)
    np.logical_and.at(all_right, place, right)
    metrics["study_right"] = _mean(counts, studies, all_right)
    for unit, errors in (("error", marked.error), ("error_mm", marked.error_mm)):
        known = np.isfinite(errors)
        metrics[f"mean_{unit}"] = _mean(counts, marked.study[known], errors[known])
        for name, q in QUANTILES.items():
            metrics[f"{name}_{unit}"] = _quantile(counts, marked.study[known], errors[known], q)
    return metrics


def _nearest(mark: PointPrediction, found: Sequence[PointPrediction]) -> Level | None:
    """The level of the detected point nearest to a mark; None without a detection."""
    if not found or mark.truth is None:
        return None
    column, row = mark.truth
    return min(
        found,
        key=lambda one: (
            (one.found[0] - column) ** 2 + ((one.found[1] - row) * mark.aspect) ** 2
            if one.found is not None
            else np.inf
        ),
    ).level


def _mean(counts: Floats, study: NDArray[np.int64], values: Floats | NDArray[np.bool_]) -> Floats:
    """The mean of values (n,) in every resample; for booleans this is the share of true ones."""
    sums = np.zeros((counts.shape[1], 2))
    np.add.at(sums, study, np.stack([values, np.ones(len(values))], axis=1).astype(np.float64))
    with np.errstate(invalid="ignore"):
        total, n = (counts @ sums).T
        mean: Floats = total / n
    return mean


def _quantile(counts: Floats, study: NDArray[np.int64], values: Floats, q: float) -> Floats:
    """The quantile of weighted values; between two values it is their mean.

    The definition is numpy's `averaged_inverted_cdf`; at 0.5 it is the usual median.
    """
    if not len(values):
        return np.full(len(counts), np.nan)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    result = np.full(len(counts), np.nan)
    for k, weights in enumerate(counts):
        total = np.cumsum(weights[study[order]])
        position = total[-1] * q
        if total[-1] > 0:
            # Weights are integers: the tolerance only compensates the rounding of q.
            first = np.searchsorted(total, position - 1e-6)
            last = np.searchsorted(total, position + 1e-6)
            result[k] = (ordered[first] + ordered[min(last, len(ordered) - 1)]) / 2
    return result
