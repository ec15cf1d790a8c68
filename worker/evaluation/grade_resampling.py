"""The figures of grades for many resamples at once: rows are weights, not copies.

Each figure here equals that of `grade_figures` when every study is drawn once; a test
holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import Severity
from worker.evaluation.calibration import binned
from worker.evaluation.grade_figures import CLASSES, EVENTS, SPECIFICITY, decisions, worse_than
from worker.evaluation.scores import WEIGHTS, Labels, Probabilities, weighted

Floats = NDArray[np.float64]

CHUNK = 25
"""Resamples at once where every row has a weight: more would not fit the cache."""


def resampled_figures(
    counts: Floats, study: NDArray[np.int64], posterior: Probabilities, labels: Labels
) -> dict[str, Floats]:
    """Figures by name for every resample, each of shape (resamples,), NaN where undefined.

    `counts` (resamples, studies) says how often a study is drawn, `study` (n,) which study
    a row belongs to; `posterior` (n, 3) and `labels` (n,) as in `grade_figures`. Precision,
    recall and F1 are named `severe.recall` and so on.
    """
    per_study = _Sums(counts, study)
    chosen = decisions(posterior)
    cells = np.eye(len(CLASSES) ** 2)[labels * len(CLASSES) + chosen]
    table = per_study(cells).reshape(-1, len(CLASSES), len(CLASSES))
    n = table.sum(axis=(1, 2))
    weight = WEIGHTS[labels]
    own = weighted(posterior)[np.arange(len(labels)), labels]
    # The smallest number above zero that log_loss of sklearn lets through.
    loss = -np.log(np.clip(own, np.finfo(np.float64).eps, 1)) * weight
    sums = per_study(np.stack([loss, weight], axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        figures = {"weighted_log_loss": sums[:, 0] / sums[:, 1]} | _from_confusion(table)
        for name, predicted, happened in (
            ("ece_severe", posterior[:, -1], labels == CLASSES[-1]),
            ("ece_top", posterior.max(axis=1), chosen == labels),
        ):
            figures[name] = np.abs(per_study(binned(predicted, happened))).sum(axis=1) / n
        for name, rank in EVENTS.items():
            auc, sensitivity = _ranked(counts, study, worse_than(posterior, rank), labels >= rank)
            figures[name] = auc
            if rank == CLASSES[-1]:
                figures["sensitivity_severe"] = sensitivity
    return figures


class _Sums:
    """Sums over rows for every resample, by way of the sums of each study."""

    def __init__(self, counts: Floats, study: NDArray[np.int64]) -> None:
        self._counts, self._study = counts, study

    def __call__(self, values: Floats) -> Floats:
        """From (n, columns) to (resamples, columns)."""
        sums = np.zeros((self._counts.shape[1], values.shape[1]))
        np.add.at(sums, self._study, values)
        return self._counts @ sums


def _from_confusion(table: Floats) -> dict[str, Floats]:
    """Figures of confusion matrices, shape (resamples, truth, decision)."""
    n = table.sum(axis=(1, 2))
    diagonal = np.einsum("rkk->rk", table)
    true, said = table.sum(axis=2), table.sum(axis=1)
    distance = np.abs(np.subtract.outer(np.array(CLASSES), np.array(CLASSES))).astype(np.float64)
    by_chance = np.einsum("ri,rj,ij->r", true, said, distance) / n
    figures = {
        "accuracy": diagonal.sum(axis=1) / n,
        "balanced_accuracy": (diagonal / true).mean(axis=1),
        "linear_kappa": 1 - np.einsum("rij,ij->r", table, distance) / by_chance,
    }
    for severity in Severity:
        k = severity.rank
        for name, below in (
            ("precision", said[:, k]),
            ("recall", true[:, k]),
            ("f1", (said[:, k] + true[:, k]) / 2),
        ):
            figures[f"{severity.value}.{name}"] = diagonal[:, k] / below
    return figures


def _ranked(
    counts: Floats, study: NDArray[np.int64], score: Floats, positive: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """AUC, and sensitivity at the fixed specificity, for every resample."""
    order = np.argsort(-score, kind="stable")
    # Rows with one score share one threshold.
    starts = np.flatnonzero(np.diff(score[order], prepend=np.inf))
    aucs, sensitivities = [], []
    for weights in _chunks(counts, study[order]):
        hits = np.add.reduceat(weights * positive[order], starts, axis=1)
        misses = np.add.reduceat(weights * ~positive[order], starts, axis=1)
        true, false = hits.cumsum(axis=1), misses.cumsum(axis=1)
        positives, negatives = true[:, -1], false[:, -1]
        area = (misses * (true - hits / 2)).sum(axis=1)
        aucs.append(area / (positives * negatives))
        allowed = false <= (1 - SPECIFICITY + 1e-9) * negatives[:, None]
        best = np.where(allowed, true, 0).max(axis=1) / positives
        sensitivities.append(np.where(negatives > 0, best, np.nan))
    return np.concatenate(aucs), np.concatenate(sensitivities)


def _chunks(counts: Floats, study: NDArray[np.int64]) -> Iterator[Floats]:
    for start in range(0, len(counts), CHUNK):
        yield counts[start : start + CHUNK, study]
