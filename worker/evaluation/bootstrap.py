"""Bootstrap intervals over whole studies, because the rows of one study are not independent."""

from __future__ import annotations

from typing import Final

import numpy as np

from worker.evaluation.results import Estimate, Floats

RESAMPLES: Final = 500
LEVEL: Final = 0.95
DEFINED: Final = 0.9
"""A metric that fewer than this share of resamples define gets no interval."""


def draw(studies: int, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """How often each study is drawn, shape (1 + resamples, studies).

    Row 0 holds ones: the observed sample. Each other row is a resample and sums to `studies`.
    """
    counts = np.random.default_rng(seed).multinomial(
        studies, np.full(studies, 1 / studies), size=resamples
    )
    return np.vstack([np.ones(studies), counts])


def estimate(values: Floats) -> Estimate:
    """The value of the observed sample with the percentile interval of its resamples.

    `values` has shape (1 + resamples,) as `draw` orders them, NaN where undefined. The
    interval is widened to contain the value: resampling can only increase some metrics, such
    as the ECE, and then the whole distribution may lie to one side.
    """
    value, resampled = float(values[0]), values[1:]
    if not np.isfinite(value):
        return Estimate(None)
    defined = resampled[np.isfinite(resampled)]
    if not len(defined) or len(defined) < DEFINED * len(resampled):
        return Estimate(value)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(defined, (tail, 1 - tail))
    return Estimate(value, min(float(low), value), max(float(high), value))


def share_estimate(values: Floats, studies: int) -> Estimate:
    """As `estimate`, for a share: resampling gives no width at a share of exactly 0 or 1.

    There the open end is the exact limit for that many studies (Clopper and Pearson 1934).
    """
    share = estimate(values)
    if share.low is not None and share.low == share.high and studies:
        margin = 1 - ((1 - LEVEL) / 2) ** (1 / studies)
        if share.value == 1:
            return Estimate(1.0, 1 - margin, 1.0)
        if share.value == 0:
            return Estimate(0.0, 0.0, margin)
    return share
