"""The challenge's loss: weighted probabilities, the log loss of each row, any_severe_spinal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.domain.predictions import SEVERITY_WEIGHTS
from worker.evaluation.results import Floats, Labels

WEIGHTS: Final = np.array(SEVERITY_WEIGHTS)
"""Sample weight by true severity."""

_EPSILON: Final = np.finfo(np.float64).eps
"""The smallest probability that enters a logarithm, as in scikit-learn's log_loss."""


def normalised(probabilities: Floats) -> Floats:
    """Rows (n, 3) scaled to a sum of one; the challenge does so before anything else."""
    rows: Floats = probabilities / probabilities.sum(axis=1, keepdims=True)
    return rows


def weighted(posterior: Floats) -> Floats:
    """The challenge's weighted probabilities of calibrated posteriors, both of shape (n, 3).

    The loss weighs a row by its true severity, so the expected loss is smallest for
    weight x posterior, renormalised. A network trained with these weights learns exactly that,
    and `worker.grade.crops.posteriors` divides the weights out.
    """
    return normalised(np.asarray(posterior, dtype=np.float64) * WEIGHTS)


def log_losses(probabilities: Floats, labels: Labels) -> Floats:
    """The weighted log loss of each row and its weight, shape (n, 2).

    The challenge's loss is the sum of the first column divided by that of the second.
    """
    weight = WEIGHTS[labels]
    of_truth = normalised(probabilities)[np.arange(len(labels)), labels]
    return np.stack([-np.log(np.clip(of_truth, _EPSILON, 1)) * weight, weight], axis=1)


def constant_log_loss(labels: Labels) -> float:
    """The loss of the best constant prediction for these labels; NaN without labels."""
    if not len(labels):
        return float("nan")
    shares = np.bincount(labels, minlength=len(WEIGHTS)) * WEIGHTS
    loss, weight = log_losses(np.tile(shares, (len(labels), 1)), labels).sum(axis=0)
    return float(loss / weight)


def any_severe_spinal(
    studies: Sequence[str] | NDArray[np.str_], probabilities: Floats, labels: Labels
) -> tuple[list[str], Floats]:
    """The challenge's any_severe_spinal: whether any canal level of a study is severe.

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


def any_severe_log_loss(table: Floats, counts: Floats) -> Floats:
    """The weighted binary log loss of `any_severe_spinal`'s array for every resample.

    `counts` (resamples, studies) says how often each study is drawn; the result has shape
    (resamples,) and is NaN where no study is drawn.
    """
    severe, label, weight = table.T
    of_truth = np.clip(np.where(label > 0, severe, 1 - severe), _EPSILON, 1)
    with np.errstate(invalid="ignore"):
        loss: Floats = (counts @ (-np.log(of_truth) * weight)) / (counts @ weight)
    return loss
