"""Calibration of probabilities: expected calibration error, reliability and coverage."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.evaluation.results import Bin, Coverage, Floats

BINS: Final = 15
"""As in Guo et al., On Calibration of Modern Neural Networks, ICML 2017."""

STEPS: Final = 50
"""Points of a coverage curve."""


def calibration_gaps(predicted: Floats, happened: NDArray[np.bool_]) -> Floats:
    """Prediction minus outcome of each row in the column of its bin, shape (n, BINS).

    `predicted` (n,) is the probability of one event, `happened` (n,) its outcome. The absolute
    values of the column sums (weighted, if rows have weights) add up to n x ECE. Bins have equal
    width; 1.0 belongs to the last.
    """
    place = np.minimum((predicted * BINS).astype(np.int64), BINS - 1)
    gaps = np.zeros((len(predicted), BINS))
    gaps[np.arange(len(predicted)), place] = predicted - happened
    return gaps


def reliability(predicted: Floats, happened: NDArray[np.bool_]) -> tuple[Bin, ...]:
    """The bins with at least one row: number of rows, mean probability and observed share."""
    place = np.minimum((predicted * BINS).astype(np.int64), BINS - 1)
    return tuple(
        Bin(int(inside.sum()), float(predicted[inside].mean()), float(happened[inside].mean()))
        for inside in (place == k for k in range(BINS))
        if inside.any()
    )


def coverage_curve(confidence: Floats, correct: NDArray[np.bool_]) -> tuple[Coverage, ...]:
    """Accuracy of the most confident share of rows, from 1/STEPS of them to all.

    Rows of equal confidence are added together, so the order of rows has no effect.
    """
    order = np.argsort(-confidence, kind="stable")
    ordered, hits = confidence[order], np.cumsum(correct[order])
    curve: dict[int, Coverage] = {}
    for k in range(1, STEPS + 1):
        threshold = ordered[max(1, round(k * len(ordered) / STEPS)) - 1]
        taken = int(np.searchsorted(-ordered, -threshold, side="right"))
        curve[taken] = Coverage(
            taken / len(ordered), float(threshold), float(hits[taken - 1] / taken)
        )
    return tuple(curve.values())
