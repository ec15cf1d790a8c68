"""The figures of one set of grades, each as its definition says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from sklearn.metrics import (
    cohen_kappa_score,
    confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
)

from dicom_sr.findings import Severity
from worker.evaluation.calibration import (
    coverage_curve,
    expected_calibration_error,
    reliability,
)
from worker.evaluation.figures import Curves
from worker.evaluation.scores import (
    Labels,
    Probabilities,
    constant_log_loss,
    weighted,
    weighted_log_loss,
)

SPECIFICITY: Final = 0.95
CLASSES: Final = range(len(Severity))
EVENTS: Final[Mapping[str, int]] = {"auc_severe": 2, "auc_moderate_or_worse": 1}
"""The mildest class that counts as positive, by the figure that asks for it."""


def decisions(posterior: Probabilities) -> Labels:
    """The most probable class of each row, the milder one where two are equal, shape (n,)."""
    chosen: Labels = posterior.argmax(axis=1).astype(np.int64)
    return chosen


def worse_than(posterior: Probabilities, rank: int) -> Probabilities:
    """The probability of a class of this rank or a worse one, shape (n,)."""
    tail: Probabilities = posterior[:, rank:].sum(axis=1)
    return tail


def scalar_figures(posterior: Probabilities, labels: Labels) -> dict[str, float | None]:
    """Every figure that is one number, by name; None where the labels do not define it.

    `posterior` (n, 3) is calibrated, `labels` (n,) are 0, 1 or 2. Losses are the
    challenge's, on weighted probabilities; everything else is on the posterior.
    """
    if not len(labels):
        return dict.fromkeys(_FIGURES)
    return {name: _defined(find(posterior, labels)) for name, find in _FIGURES.items()}


def confusion(posterior: Probabilities, labels: Labels) -> tuple[tuple[int, ...], ...]:
    """Rows by [truth][decision], 3 x 3."""
    if not len(labels):
        return tuple((0,) * len(CLASSES) for _ in CLASSES)
    table = confusion_matrix(labels, decisions(posterior), labels=list(CLASSES))
    return tuple(tuple(int(value) for value in row) for row in table)


def class_figures(posterior: Probabilities, labels: Labels) -> dict[str, dict[str, float | None]]:
    """Precision, recall and F1 of each class, by severity value and name."""
    names = ("precision", "recall", "f1")
    if not len(labels):
        return {severity.value: dict.fromkeys(names) for severity in Severity}
    table = precision_recall_fscore_support(
        labels, decisions(posterior), labels=list(CLASSES), zero_division=np.nan
    )
    return {
        severity.value: {
            name: _defined(float(table[row][severity.rank])) for row, name in enumerate(names)
        }
        for severity in Severity
    }


def curves(posterior: Probabilities, labels: Labels) -> Curves:
    """What the plots of these grades are drawn from."""
    if not len(labels):
        return Curves((), (), {})
    rates = {}
    for name, rank in EVENTS.items():
        if _both(labels >= rank):
            false, true, _ = roc_curve(labels >= rank, worse_than(posterior, rank))
            rates[name] = (tuple(false.tolist()), tuple(true.tolist()))
    right = decisions(posterior) == labels
    return Curves(
        reliability=reliability(posterior[:, -1], labels == CLASSES[-1]),
        coverage=coverage_curve(posterior.max(axis=1), right),
        roc=rates,
    )


def _auc(posterior: Probabilities, labels: Labels, rank: int) -> float:
    positive = labels >= rank
    if not _both(positive):
        return math.nan
    return float(roc_auc_score(positive, worse_than(posterior, rank)))


def _sensitivity(posterior: Probabilities, labels: Labels) -> float:
    positive = labels == CLASSES[-1]
    if not _both(positive):
        return math.nan
    false, true, _ = roc_curve(positive, posterior[:, -1], drop_intermediate=False)
    # A hair of tolerance: 1 - 0.95 is not 0.05 in floating point.
    return float(true[false <= 1 - SPECIFICITY + 1e-9].max())


def _balanced_accuracy(posterior: Probabilities, labels: Labels) -> float:
    # Without an example of a class its mean recall would be that of another task.
    recalls = [row["recall"] for row in class_figures(posterior, labels).values()]
    return float(np.mean([math.nan if recall is None else recall for recall in recalls]))


def _kappa(posterior: Probabilities, labels: Labels) -> float:
    chosen = decisions(posterior)
    if len(np.union1d(chosen, labels)) < 2:
        return math.nan  # agreement by chance is complete: 0 / 0
    return float(cohen_kappa_score(labels, chosen, labels=list(CLASSES), weights="linear"))


def _ece_top(posterior: Probabilities, labels: Labels) -> float:
    return expected_calibration_error(posterior.max(axis=1), decisions(posterior) == labels)


_FIGURES: Final[Mapping[str, Callable[[Probabilities, Labels], float]]] = {
    "weighted_log_loss": lambda p, y: weighted_log_loss(weighted(p), y),
    "constant_log_loss": lambda _, y: constant_log_loss(y, y),
    "accuracy": lambda p, y: float((decisions(p) == y).mean()),
    "balanced_accuracy": _balanced_accuracy,
    "linear_kappa": _kappa,
    "auc_severe": lambda p, y: _auc(p, y, EVENTS["auc_severe"]),
    "auc_moderate_or_worse": lambda p, y: _auc(p, y, EVENTS["auc_moderate_or_worse"]),
    "sensitivity_severe": _sensitivity,
    "ece_severe": lambda p, y: expected_calibration_error(p[:, -1], y == CLASSES[-1]),
    "ece_top": _ece_top,
}


def _both(positive: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> bool:
    return bool(positive.any() and not positive.all())


def _defined(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
