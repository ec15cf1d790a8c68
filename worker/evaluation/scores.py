"""The challenge's score and its companions, for one condition at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from worker.domain.predictions import SEVERITY_WEIGHTS

WEIGHTS: Final = np.array(SEVERITY_WEIGHTS)
"""Sample weight by true severity."""

Probabilities = NDArray[np.float64]
"""Shape (n, 3): Normal/Mild, Moderate, Severe."""

Labels = NDArray[np.int64]
"""Shape (n,): 0, 1 or 2."""


def normalised(probabilities: Probabilities) -> Probabilities:
    """Rows that sum to one, as the challenge makes them before anything else."""
    rows: Probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
    return rows


def weighted(posterior: Probabilities) -> Probabilities:
    """The challenge's weighted probabilities of calibrated posteriors, both of shape (n, 3).

    The loss weighs a row by its true severity, so the expected loss is least for
    weight x posterior, renormalised: what a network trained with these weights learns, and
    what `worker.grade.crops.posteriors` divides out.
    """
    return normalised(np.asarray(posterior, dtype=np.float64) * WEIGHTS)


def weighted_log_loss(probabilities: Probabilities, labels: Labels) -> float:
    """Log loss with weight 1/2/4 by true severity, normalised by the weights' sum."""
    return float(
        log_loss(labels, normalised(probabilities), labels=[0, 1, 2], sample_weight=WEIGHTS[labels])
    )


def constant_log_loss(training: Labels, labels: Labels) -> float:
    """The loss of the best constant prediction learnt from the training labels."""
    shares = np.bincount(training, minlength=3) * WEIGHTS
    constant = np.tile(shares / shares.sum(), (len(labels), 1))
    return weighted_log_loss(constant, labels)


def severe_auc(probabilities: Probabilities, labels: Labels) -> float:
    """Area under the ROC curve of the severe probability against severe or not."""
    return float(roc_auc_score(labels == len(WEIGHTS) - 1, probabilities[:, -1]))


def any_severe_spinal(
    studies: Sequence[str] | NDArray[np.str_], probabilities: Probabilities, labels: Labels
) -> tuple[list[str], Probabilities]:
    """The challenge's question whether any canal of a study is severe.

    Takes every labelled canal row: its study, weighted probabilities (n, 3), label (n,).
    Returns the studies in order and an array (studies, 3): the largest severe probability of
    the normalised rows, whether one is labelled severe (0 or 1), and the largest weight.
    """
    names, group = np.unique(np.asarray(studies, dtype=str), return_inverse=True)
    table = np.zeros((len(names), 3))
    severe = normalised(probabilities)[:, -1]
    for column, values in enumerate((severe, labels == len(WEIGHTS) - 1, WEIGHTS[labels])):
        np.maximum.at(table[:, column], group, values)
    return names.tolist(), table


def any_severe_log_loss(table: Probabilities) -> float:
    """The weighted binary log loss of `any_severe_spinal`'s array."""
    severe, label, weight = table.T
    return float(log_loss(label, severe, labels=[0, 1], sample_weight=weight))
