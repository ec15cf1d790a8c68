"""Why the levels that stage 1 named may be the wrong ones: from its own heatmaps, no guess.

Names hang on each other: five discs are counted upward from the sacrum. Where too few are seen
or the same picture fits the names moved by one nearly as well, no level is certain.

Measured with the shipped bundle, one T1 series at a time, foramina alone (301 studies that the
detector did not learn from; a level counts as right where its nearest mark has its name): of 295
series named right 0.7 % have fewer than four clear levels and 1.7 % fit moved names with a share
above 0.8; of the six others, moved as a whole by one level, two are above. How many transitional
vertebrae that finds is unknown: nobody has marked them in the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import Level, NotAssessedReason
from worker.domain.geometry import Vector
from worker.localise.peaks import Peak, decode_levels, to_cell
from worker.localise.views import SagittalView
from worker.localise.windows import OFFSET_MM, Structure, channels

CLEAR: Final = 0.7
"""A level is clearly seen where its heat is at least this."""

CLEAR_LEVELS: Final = 4
"""Below this many clear levels no name is trusted.

Pictures cut above L5/S1 still give four or five names, nearly all wrong by one, but faint; one
level may be missing at an end.
"""

MOVED: Final = 0.8
"""The share of the heat that the names moved by one level may have, up or down."""

OTHERWISE: Final = 2
"""So many levels named otherwise by the two sagittal series are no slip of one point.

Where T2 named fewer, all of them are enough: nothing else speaks for its name.
"""

_NEAR: Final = 2
"""Heatmap cells around a place within which neighbouring names count as the same place."""


def doubt_names(
    t2: Sequence[SagittalView], t1: Sequence[SagittalView], canal: Mapping[Level, Vector]
) -> NotAssessedReason | None:
    """Why the names of a study's levels are not to be trusted, None where they are.

    One sagittal series that names them clearly is enough: scoliosis makes the canal faint on T2
    where T1 is sure. But both must name them alike; `canal` holds the places that T2 named, in
    patient millimetres.
    """
    read = [(view, view.heat[:, channels(Structure.CANAL)].max(axis=0)) for view in t2]
    read += [(view, view.heat[:, channels(Structure.FORAMEN)].max(axis=0)) for view in t1]
    reasons = [doubt(heat, decode_levels(heat)) for _, heat in read]
    if reasons and None not in reasons:
        return reasons[0]
    enough = min(OTHERWISE, len(canal))
    for (view, heat), reason in zip(read[len(t2) :], reasons[len(t2) :], strict=True):
        if reason is None and canal and named_otherwise(view, decode_levels(heat), canal) >= enough:
            return NotAssessedReason.TRANSITIONAL_ANATOMY
    return None


def named_otherwise(
    view: SagittalView, foramina: Mapping[Level, Peak], canal: Mapping[Level, Vector]
) -> int:
    """How many of the levels that T2 named lie nearest to another level of a T1 view.

    T2's levels are counted, few as they may be: they are what would be graded under their names.
    """
    discs_mm = {}
    for level, peak in foramina.items():
        place = view.crop.to_image_px(peak.column, peak.row)
        discs_mm[level] = view.volume.planes[0].to_mm(*place) - (0.0, *OFFSET_MM)

    def nearest(place: Vector) -> Level:
        return min(discs_mm, key=lambda level: float(np.hypot(*(discs_mm[level] - place)[1:])))

    return sum(nearest(place) is not level for level, place in canal.items())


def doubt(heat: NDArray[np.float32], found: Mapping[Level, Peak]) -> NotAssessedReason | None:
    """Why the levels of one sagittal series are not to be trusted, None where they are.

    `heat` has shape (5, height, width), L1/L2 first, over all slices; `found` holds the peaks
    that `decode_levels` chose from it.
    """
    clear = sum(peak.heat >= CLEAR for peak in found.values())
    if not clear:
        return NotAssessedReason.NOT_LUMBAR
    if clear < CLEAR_LEVELS:
        return NotAssessedReason.TOO_FEW_LEVELS
    if moved_share(heat, found) > MOVED:
        return NotAssessedReason.TRANSITIONAL_ANATOMY
    return None


def moved_share(heat: NDArray[np.float32], found: Mapping[Level, Peak]) -> float:
    """How well the places fit the names of their neighbours, against their own.

    The mean heat of the next name at each place, upward or downward, whichever fits better,
    divided by the mean heat of its own. A sixth disc, or a sacrum that cannot be told from a
    fifth vertebra, brings it near 1.
    """
    levels = list(Level)
    own = [_heat_near(heat[levels.index(level)], peak) for level, peak in found.items()]
    moved = []
    for step in (-1, 1):
        others = [
            _heat_near(heat[levels.index(level) + step], peak)
            for level, peak in found.items()
            if 0 <= levels.index(level) + step < len(levels)
        ]
        moved.append(float(np.mean(others)) if others else 0.0)
    return max(moved) / float(np.mean(own))


def _heat_near(heat: NDArray[np.float32], peak: Peak) -> float:
    column, row = (round(value) for value in to_cell(peak.column, peak.row))
    top, left = max(0, row - _NEAR), max(0, column - _NEAR)
    return float(heat[top : row + _NEAR + 1, left : column + _NEAR + 1].max())
