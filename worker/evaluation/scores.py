"""The challenge's loss and its companions, for one condition at a time."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from worker.grade.graders import TRAINING_WEIGHTS

WEIGHTS: Final = np.array(TRAINING_WEIGHTS)
"""Sample weight by true severity."""

Probabilities = NDArray[np.float64]
"""Shape (n, 3): Normal/Mild, Moderate, Severe."""

Labels = NDArray[np.int64]
"""Shape (n,): 0, 1 or 2."""


def weighted_log_loss(probabilities: Probabilities, labels: Labels) -> float:
    """Log loss with weight 1/2/4 by true severity, normalised by the weights' sum."""
    rows = probabilities / probabilities.sum(axis=1, keepdims=True)
    return float(log_loss(labels, rows, labels=[0, 1, 2], sample_weight=WEIGHTS[labels]))


def constant_log_loss(training: Labels, labels: Labels) -> float:
    """The loss of the best constant prediction learnt from the training labels."""
    shares = np.bincount(training, minlength=3) * WEIGHTS
    constant = np.tile(shares / shares.sum(), (len(labels), 1))
    return weighted_log_loss(constant, labels)


def severe_auc(probabilities: Probabilities, labels: Labels) -> float:
    """Area under the ROC curve of the severe probability against severe or not."""
    return float(roc_auc_score(labels == len(WEIGHTS) - 1, probabilities[:, -1]))
