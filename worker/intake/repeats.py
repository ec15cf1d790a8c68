"""Axial scans that were repeated after motion: one pass is used, never a mix of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Final

import numpy as np

from dicom_sr.uids import printable_uid
from worker.domain.study import Evidence, Role, Series
from worker.intake.classification import Classification

_SHARED_HEIGHT: Final = 0.5
"""Two passes of one scan share at least this part of the smaller one's height."""
_SAME_DIRECTION: Final = 0.9962
"""Cosine of five degrees."""
_COMPLETE: Final = 0.9
"""A pass with fewer of the other's slices than this is incomplete."""


def without_repeats(classified: Sequence[Classification]) -> list[Classification]:
    """Take the role from axial series that another pass of the same scan replaces.

    The later acquisition replaces the earlier one, unless it is incomplete. Blocks at other
    heights, and series of another kind, are no passes of one scan.
    """
    replaced: dict[int, Series] = {}
    axial = [(n, c) for n, c in enumerate(classified) if c.role is Role.AXIAL_T2]
    for (one, a), (other, b) in combinations(axial, 2):
        if not _same_scan(a, b) or one in replaced or other in replaced:
            continue
        first, second = sorted((one, other), key=lambda n: _when(classified[n].series))
        whole = len(classified[first].series.slices)
        if len(classified[second].series.slices) < _COMPLETE * whole:
            first, second = second, first
        replaced[first] = classified[second].series
    return [
        _replaced(one, replaced[n]) if n in replaced else one for n, one in enumerate(classified)
    ]


def _same_scan(one: Classification, other: Classification) -> bool:
    """Whether two axial series image the same slices in the same way."""
    a, b = one.series, other.series
    first, second = a.slices[0].plane, b.slices[0].plane
    alike = (
        one.weighting is other.weighting
        and (first.rows, first.columns) == (second.rows, second.columns)
        and np.isclose(first.row_spacing_mm, second.row_spacing_mm, rtol=1e-2)
        and a.acquisition.acquired != b.acquisition.acquired
        and _described(a) == _described(b)
    )
    if not alike or abs(float(first.normal @ second.normal)) < _SAME_DIRECTION:
        return False
    low = max(a.extent_mm[0][2], b.extent_mm[0][2])
    high = min(a.extent_mm[1][2], b.extent_mm[1][2])
    smaller = min(a.extent_mm[1][2] - a.extent_mm[0][2], b.extent_mm[1][2] - b.extent_mm[0][2])
    return bool(high - low > _SHARED_HEIGHT * smaller)


def _described(series: Series) -> str:
    """The description without what a console appends to a repeated scan."""
    words = series.acquisition.series_description.casefold().split()
    return " ".join(word for word in words if word not in ("repeat", "rpt", "rep", "2", "wdh"))


def _when(series: Series) -> tuple[str, int, str]:
    found = series.acquisition
    return found.acquired, found.series_number or 0, series.series_instance_uid


def _replaced(classification: Classification, by: Series) -> Classification:
    why = f"another pass of this scan is used: {printable_uid(by.series_instance_uid)}"
    return replace(
        classification,
        role=None,
        reason=f"{classification.reason}; {why}",
        evidence=(*classification.evidence, Evidence("repeated", "no role", why)),
    )
