"""Bootstrap intervals: whole studies are drawn again, as their rows are not independent."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.evaluation.figures import Figure

Floats = NDArray[np.float64]

RESAMPLES: Final = 500
LEVEL: Final = 0.95
DEFINED: Final = 0.9
"""Below this share of resamples that define a figure, it gets no interval."""


def draw(studies: int, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """How often each study is drawn, shape (resamples, studies); each row sums to `studies`."""
    counts = np.random.default_rng(seed).multinomial(
        studies, np.full(studies, 1 / studies), size=resamples
    )
    return counts.astype(np.float64)


def share_figure(value: float | None, resampled: Floats | None, studies: int) -> Figure:
    """As `figure`, for a share: where all or none are right, resampling knows no doubt.

    There the open end is the exact one of that many studies (Clopper and Pearson 1934).
    """
    made = figure(value, resampled)
    if made.low is not None and made.low == made.high and studies:
        doubt = 1 - ((1 - LEVEL) / 2) ** (1 / studies)
        if value == 1:
            return Figure(value, 1 - doubt, 1.0)
        if value == 0:
            return Figure(value, 0.0, doubt)
    return made


def figure(value: float | None, resampled: Floats | None) -> Figure:
    """A figure with the percentile interval of its resamples, shape (resamples,), NaN undefined.

    The interval is widened to hold the figure itself: resampling can only add to some of
    them (ECE is one), and then the whole distribution may lie to one side.
    """
    if value is None or not np.isfinite(value):
        return Figure(None)
    if resampled is None:
        return Figure(value)
    defined = resampled[np.isfinite(resampled)]
    if not len(defined) or len(defined) < DEFINED * len(resampled):
        return Figure(value)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(defined, (tail, 1 - tail))
    return Figure(value, min(float(low), value), max(float(high), value))
