"""Whether probabilities mean what they say."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.evaluation.figures import Bin, Coverage

Floats = NDArray[np.float64]

BINS: Final = 15
"""As in Guo et al., On Calibration of Modern Neural Networks, ICML 2017."""

STEPS: Final = 50
"""Points of a coverage curve."""


def binned(predicted: Floats, happened: NDArray[np.bool_]) -> Floats:
    """For each row the share it adds to each bin's gap, shape (n, BINS).

    Summed over rows (with weights, if any), the absolute values of the columns add up to
    n x ECE. Bins are of equal width; 1.0 belongs to the last.
    """
    place = np.minimum((predicted * BINS).astype(np.int64), BINS - 1)
    gaps = np.zeros((len(predicted), BINS))
    gaps[np.arange(len(predicted)), place] = predicted - happened
    return gaps


def expected_calibration_error(predicted: Floats, happened: NDArray[np.bool_]) -> float:
    """The mean distance between what was said and what happened, over equal-width bins.

    `predicted` (n,) is the probability of one event, `happened` (n,) whether it came true.
    """
    return float(np.abs(binned(predicted, happened).sum(axis=0)).sum() / len(predicted))


def reliability(predicted: Floats, happened: NDArray[np.bool_]) -> tuple[Bin, ...]:
    """The bins that hold a row: how many, the mean probability, and how often it came true."""
    place = np.minimum((predicted * BINS).astype(np.int64), BINS - 1)
    return tuple(
        Bin(int(inside.sum()), float(predicted[inside].mean()), float(happened[inside].mean()))
        for inside in (place == k for k in range(BINS))
        if inside.any()
    )


def coverage_curve(confidence: Floats, right: NDArray[np.bool_]) -> tuple[Coverage, ...]:
    """Accuracy of the most confident share of rows, from 1/STEPS of them to all.

    Rows of equal confidence are taken or left together, so no order of rows shows.
    """
    order = np.argsort(-confidence, kind="stable")
    ordered, hits = confidence[order], np.cumsum(right[order])
    curve: dict[int, Coverage] = {}
    for k in range(1, STEPS + 1):
        threshold = ordered[max(1, round(k * len(ordered) / STEPS)) - 1]
        taken = int(np.searchsorted(-ordered, -threshold, side="right"))
        curve[taken] = Coverage(
            taken / len(ordered), float(threshold), float(hits[taken - 1] / taken)
        )
    return tuple(curve.values())
