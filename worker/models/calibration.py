"""From scores to calibrated probabilities."""

from __future__ import annotations

import math
from typing import Final

from dicom_sr.findings import Probabilities, Severity

_SMALLEST: Final = 1e-300


def at_temperature(posterior: Probabilities, temperature: float) -> Probabilities:
    """A posterior at a temperature (Guo et al., arXiv 1706.04599): above 1 it is less certain."""
    logs = [math.log(max(posterior.of(s), _SMALLEST)) / temperature for s in Severity]
    highest = max(logs)
    shares = [math.exp(value - highest) for value in logs]
    total = sum(shares)
    return Probabilities(*(share / total for share in shares))


def platt_scaled(score: float, slope: float, offset: float) -> float:
    """The probability that a point with this score is right, both 0..1 (Platt scaling).

    A logistic curve over the logit of the score, fitted out of fold.
    """
    score = min(max(score, 1e-6), 1 - 1e-6)
    return 1 / (1 + math.exp(-(slope * math.log(score / (1 - score)) + offset)))
