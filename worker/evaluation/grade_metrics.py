"""Metrics of grades, computed for the observed studies and for every bootstrap resample at once.

A resample gives each row a weight (how often its study is drawn) instead of copying rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from dicom_sr.findings import Severity
from worker.evaluation.reliability import calibration_gaps, coverage_curve, reliability
from worker.evaluation.results import Curves, Floats, Labels
from worker.evaluation.scores import log_losses, weighted

SPECIFICITY: Final = 0.95
CLASSES: Final = range(len(Severity))
POSITIVE_FROM: Final[Mapping[str, int]] = {"auc_severe": 2, "auc_moderate_or_worse": 1}
"""Metric to the rank of the mildest class that counts as positive."""

CLASS_METRICS: Final = ("precision", "recall", "f1")

CHUNK: Final = 25
"""Resamples per step where every row has a weight, so that the arrays fit the cache."""


def decisions(posterior: Floats) -> Labels:
    """The most probable class of each row, the milder one of two equal ones, shape (n,)."""
    chosen: Labels = posterior.argmax(axis=1).astype(np.int64)
    return chosen


def probability_from(posterior: Floats, rank: int) -> Floats:
    """The probability of a class of this rank or a worse one, shape (n,)."""
    tail: Floats = posterior[:, rank:].sum(axis=1)
    return tail


def grade_metrics(
    posterior: Floats, labels: Labels, study: NDArray[np.int64], counts: Floats
) -> dict[str, Floats]:
    """Metrics by name, each of shape (resamples,), NaN where undefined.

    `posterior` (n, 3) is calibrated, `labels` (n,) are 0, 1 or 2, `study` (n,) is the index
    of each row's study and `counts` (resamples, studies) how often a resample draws it. Losses
    use the challenge's weighted probabilities, all other metrics the posterior. Precision,
    recall and F1 are named `severe.recall` and so on.
    """
    sums = _Sums(study, counts)
    chosen = decisions(posterior)
    cells = np.eye(len(CLASSES) ** 2)[labels * len(CLASSES) + chosen]
    table = sums(cells).reshape(-1, len(CLASSES), len(CLASSES))
    loss, weight = sums(log_losses(weighted(posterior), labels)).T
    with np.errstate(divide="ignore", invalid="ignore"):
        metrics = {"weighted_log_loss": loss / weight, **_confusion_metrics(table)}
        for name, predicted, happened in (
            ("ece_severe", posterior[:, -1], labels == CLASSES[-1]),
            ("ece_top", posterior.max(axis=1), chosen == labels),
        ):
            gaps = sums(calibration_gaps(predicted, happened))
            metrics[name] = np.abs(gaps).sum(axis=1) / table.sum(axis=(1, 2))
        for name, rank in POSITIVE_FROM.items():
            score = probability_from(posterior, rank)
            auc, sensitivity = _rank_metrics(score, labels >= rank, study, counts)
            metrics[name] = auc
            if rank == CLASSES[-1]:
                metrics["sensitivity_severe"] = sensitivity
    return metrics


def confusion(posterior: Floats, labels: Labels) -> tuple[tuple[int, ...], ...]:
    """The number of rows by [truth][decision], 3 x 3."""
    cells = labels * len(CLASSES) + decisions(posterior)
    table = np.bincount(cells, minlength=len(CLASSES) ** 2).reshape(len(CLASSES), -1)
    return tuple(tuple(row) for row in table.tolist())


def curves(posterior: Floats, labels: Labels) -> Curves:
    """The reliability, coverage and ROC curves of these grades."""
    if not len(labels):
        return Curves((), (), {})
    rates = {}
    for name, rank in POSITIVE_FROM.items():
        positive = labels >= rank
        if positive.any() and not positive.all():
            false, true, _ = roc_curve(positive, probability_from(posterior, rank))
            rates[name] = (tuple(false.tolist()), tuple(true.tolist()))
    correct = decisions(posterior) == labels
    return Curves(
        reliability=reliability(posterior[:, -1], labels == CLASSES[-1]),
        coverage=coverage_curve(posterior.max(axis=1), correct),
        roc=rates,
    )


class _Sums:
    """Weighted sums over rows for every resample, computed from the sums of each study."""

    def __init__(self, study: NDArray[np.int64], counts: Floats) -> None:
        self._study, self._counts = study, counts

    def __call__(self, values: Floats) -> Floats:
        """From (n, columns) to (resamples, columns)."""
        sums = np.zeros((self._counts.shape[1], values.shape[1]))
        np.add.at(sums, self._study, values)
        return self._counts @ sums


def _confusion_metrics(table: Floats) -> dict[str, Floats]:
    """Metrics of confusion matrices, shape (resamples, truth, decision)."""
    n = table.sum(axis=(1, 2))
    diagonal = np.einsum("rkk->rk", table)
    true, decided = table.sum(axis=2), table.sum(axis=1)
    distance = np.abs(np.subtract.outer(np.array(CLASSES), np.array(CLASSES))).astype(np.float64)
    by_chance = np.einsum("ri,rj,ij->r", true, decided, distance) / n
    metrics = {
        "accuracy": diagonal.sum(axis=1) / n,
        "balanced_accuracy": (diagonal / true).mean(axis=1),
        "linear_kappa": 1 - np.einsum("rij,ij->r", table, distance) / by_chance,
    }
    for severity in Severity:
        k = severity.rank
        denominators = (decided[:, k], true[:, k], (decided[:, k] + true[:, k]) / 2)
        for name, denominator in zip(CLASS_METRICS, denominators, strict=True):
            metrics[f"{severity.value}.{name}"] = diagonal[:, k] / denominator
    return metrics


def _rank_metrics(
    score: Floats, positive: NDArray[np.bool_], study: NDArray[np.int64], counts: Floats
) -> tuple[Floats, Floats]:
    """AUC, and sensitivity at the fixed specificity, for every resample."""
    if not len(score):
        undefined = np.full(len(counts), np.nan)
        return undefined, undefined
    order = np.argsort(-score, kind="stable")
    # Rows of equal score share one threshold.
    starts = np.flatnonzero(np.diff(score[order], prepend=np.inf))
    aucs, sensitivities = [], []
    for weights in _chunks(counts, study[order]):
        hits = np.add.reduceat(weights * positive[order], starts, axis=1)
        misses = np.add.reduceat(weights * ~positive[order], starts, axis=1)
        true, false = hits.cumsum(axis=1), misses.cumsum(axis=1)
        positives, negatives = true[:, -1], false[:, -1]
        area = (misses * (true - hits / 2)).sum(axis=1)
        aucs.append(area / (positives * negatives))
        # The tolerance is for rounding: 1 - 0.95 is not 0.05 in floating point.
        allowed = false <= (1 - SPECIFICITY + 1e-9) * negatives[:, None]
        best = np.where(allowed, true, 0).max(axis=1) / positives
        sensitivities.append(np.where(negatives > 0, best, np.nan))
    return np.concatenate(aucs), np.concatenate(sensitivities)


def _chunks(counts: Floats, study: NDArray[np.int64]) -> Iterator[Floats]:
    for start in range(0, len(counts), CHUNK):
        yield counts[start : start + CHUNK, study]
