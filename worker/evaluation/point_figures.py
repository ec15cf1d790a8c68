"""The figures of one set of points, and the same for many resamples at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import Level
from worker.evaluation.predictions import PointPrediction

Floats = NDArray[np.float64]

RIGHT: Final = 0.04
"""A level is right within this fraction of the width."""

SHARES: Final = frozenset({"found", "right", "level_right", "study_right"})

QUANTILES: Final[Mapping[str, float]] = {"median": 0.5, "p90": 0.9}


@dataclass(frozen=True, eq=False)
class Marks:
    """Every marked point as arrays of shape (n,): what was found for it, and how far off.

    `error` is in fractions of the width and `error_mm` in millimetres, both NaN where they
    are not known; `level_right` says whether the found point nearest to the mark, of all
    levels found in that picture, is of the mark's level. `study` indexes studies in the
    order of their names.
    """

    level: NDArray[np.str_]
    study: NDArray[np.int64]
    error: Floats
    error_mm: Floats
    level_right: NDArray[np.bool_]

    def at(self, level: Level | None) -> Marks:
        """The marks of one level, or all of them."""
        if level is None:
            return self
        here = self.level == level.value
        return Marks(
            self.level[here],
            self.study[here],
            self.error[here],
            self.error_mm[here],
            self.level_right[here],
        )


def marks(rows: Sequence[PointPrediction], studies: Sequence[str]) -> Marks:
    """The marked points of these rows; `studies` names every study that a row may have."""
    found: dict[str, list[PointPrediction]] = {}
    for row in rows:
        if row.found is not None:
            found.setdefault(row.file, []).append(row)
    number = {study: k for k, study in enumerate(studies)}
    marked = [row for row in rows if row.truth is not None]
    errors = [np.nan if row.error is None else row.error for row in marked]
    widths = [np.nan if row.width_mm is None else row.width_mm for row in marked]
    return Marks(
        level=np.array([row.level.value for row in marked], dtype=str),
        study=np.array([number[row.study_id] for row in marked], dtype=np.int64),
        error=np.array(errors, dtype=np.float64),
        error_mm=np.array(errors, dtype=np.float64) * np.array(widths, dtype=np.float64),
        level_right=np.array(
            [_nearest(row, found.get(row.file, [])) is row.level for row in marked], dtype=bool
        ),
    )


def point_figures(marked: Marks) -> dict[str, float | None]:
    """Every figure that is one number, by name; None where there is nothing to measure.

    Shares are of the marked points (`study_right` of the studies): where the detector
    abstained, nothing is right. Errors are of the found ones.
    """
    once = np.ones((1, int(marked.study.max(initial=-1)) + 1))
    return {
        name: float(value[0]) if np.isfinite(value[0]) else None
        for name, value in resampled_points(once, marked).items()
    }


def resampled_points(counts: Floats, marked: Marks) -> dict[str, Floats]:
    """Figures by name for every resample, each (resamples,), NaN where undefined.

    `counts` (resamples, studies) says how often each study is drawn.
    """
    found = np.isfinite(marked.error)
    right = found & (marked.error <= RIGHT)
    figures = {
        "found": _mean(counts, marked.study, found),
        "right": _mean(counts, marked.study, right),
        "level_right": _mean(counts, marked.study, marked.level_right),
    }
    studies, place = np.unique(marked.study, return_inverse=True)
    every = np.ones(len(studies), dtype=bool)
    np.logical_and.at(every, place, right)
    figures["study_right"] = _mean(counts, studies, every)
    for unit, errors in (("error", marked.error), ("error_mm", marked.error_mm)):
        known = np.isfinite(errors)
        figures[f"mean_{unit}"] = _mean(counts, marked.study[known], errors[known])
        for name, q in QUANTILES.items():
            figures[f"{name}_{unit}"] = _quantile(counts, marked.study[known], errors[known], q)
    return figures


def _nearest(mark: PointPrediction, found: Sequence[PointPrediction]) -> Level | None:
    """The level of the found point nearest to a mark; None where none was found."""
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
    """The mean of values (n,) in every resample; that of truths is their share."""
    sums = np.zeros((counts.shape[1], 2))
    np.add.at(sums, study, np.stack([values, np.ones(len(values))], axis=1).astype(np.float64))
    with np.errstate(invalid="ignore"):
        total, n = (counts @ sums).T
        mean: Floats = total / n
    return mean


def _quantile(counts: Floats, study: NDArray[np.int64], values: Floats, q: float) -> Floats:
    """The quantile of repeated values; that between two of them is their mean.

    The definition is numpy's `averaged_inverted_cdf`; at 0.5 it is the usual median.
    """
    if not len(values):
        return np.full(len(counts), np.nan)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    result = np.full(len(counts), np.nan)
    for k, drawn in enumerate(counts):
        total = np.cumsum(drawn[study[order]])
        wanted = total[-1] * q
        if total[-1] > 0:
            # Counts are whole numbers: the tolerance only undoes the rounding of q.
            first = np.searchsorted(total, wanted - 1e-6)
            last = np.searchsorted(total, wanted + 1e-6)
            result[k] = (ordered[first] + ordered[min(last, len(ordered) - 1)]) / 2
    return result
