"""Calibration out of fold: temperatures, Platt scaling, and abstention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression

from dicom_sr.findings import Severity
from worker.evaluation.predictions import GradePrediction
from worker.models.calibration import at_temperature
from worker.models.card import PlattScaling

RIGHT_WITHIN: Final = 0.04
"""A point is right within this share of the image's width."""

ABSTAINED: Final = 0.01
"""The share of grades at annotated places, the least certain ones, that are not given."""


def fit_temperature(rows: Sequence[GradePrediction]) -> float:
    """The temperature under which the labels are most likely (Guo et al., arXiv 1706.04599).

    `rows` hold the posteriors at temperature 1 predicted out of fold.
    """
    logits = np.log(np.clip(_posteriors(rows), 1e-12, 1))
    truth = np.array([row.truth.rank for row in rows if row.truth is not None])

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        right = scaled[np.arange(len(truth)), truth]
        return float(np.mean(np.logaddexp.reduce(scaled, axis=1) - right))

    best = minimize_scalar(loss, bounds=(-1.5, 1.5), method="bounded")
    return round(float(np.exp(best.x)), 4)


def calibrated(rows: Sequence[GradePrediction], temperature: float) -> tuple[GradePrediction, ...]:
    """The same rows as the calibrated bundle predicts them."""
    return tuple(replace(row, posterior=at_temperature(row.posterior, temperature)) for row in rows)


def abstention(rows: Sequence[GradePrediction]) -> float:
    """The probability of the chosen grade below which it is not given; `rows` are calibrated."""
    certainty = _posteriors(rows).max(axis=1)
    return round(float(np.quantile(certainty, ABSTAINED)), 3)


def fit_platt_scaling(scores: NDArray[np.float64], errors: NDArray[np.float64]) -> PlattScaling:
    """The logistic curve from a point's score to its probability of being right.

    `errors` are in fractions of the image's width. Neutral where all are right, or none.
    """
    right = errors < RIGHT_WITHIN
    if right.all() or not right.any():
        return PlattScaling()
    score = np.clip(scores, 1e-6, 1 - 1e-6)
    curve = LogisticRegression().fit(np.log(score / (1 - score))[:, None], right)
    return PlattScaling(
        slope=round(float(curve.coef_[0, 0]), 4), offset=round(float(curve.intercept_[0]), 4)
    )


def _posteriors(rows: Sequence[GradePrediction]) -> NDArray[np.float64]:
    return np.array([[row.posterior.of(s) for s in Severity] for row in rows], dtype=np.float64)
