"""Whether the names that stage 1 gave to the levels can be trusted, from its own heatmaps.

Names depend on each other: five discs are counted upward from the sacrum. Where too few are seen,
or the same picture fits the names shifted by one nearly as well, no level is certain.

Measured with the bundle 2026.11.21, one T1 series at a time, foramina alone (301 studies that the
network was not trained on; a level counts as right where its nearest mark has its name): of 295
series named correctly 0.7 % have fewer than four clear levels and 1.7 % fit shifted names with a
share above 0.8; of the six others, all shifted by one level, two are above. How many transitional
vertebrae this finds is unknown: none are marked in the data.

On T2 the chain of discs must also end as a sacrum does. `tests/benchmarks/orientation_and_names.py`
measures that on three other sites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import Level, NotAssessedReason
from worker.domain.geometry import Vector
from worker.localise.heatmaps.options import HeatmapOptions
from worker.localise.heatmaps.peaks import Peak, decode_levels, to_cell
from worker.localise.heatmaps.views import SagittalView
from worker.localise.heatmaps.windows import Structure, channels


def numbering_problem(
    t2: Sequence[SagittalView],
    t1: Sequence[SagittalView],
    canal: Mapping[Level, Vector],
    options: HeatmapOptions,
) -> NotAssessedReason | None:
    """Why the names of a study's levels cannot be trusted, None where they can.

    One sagittal series that names them clearly is enough: scoliosis weakens the canal on T2
    where T1 is clear. But both must agree; `canal` holds the places that T2 named, in
    patient millimetres.
    """
    t1_scores = [view.scores[:, channels(Structure.FORAMEN)].max(axis=0) for view in t1]
    levels = [decode_levels(one, options) for one in t1_scores]
    t1_problems = [
        series_problem(one, decoded, options)
        for one, decoded in zip(t1_scores, levels, strict=True)
    ]
    problems = [*(canal_problem(view, options) for view in t2), *t1_problems]
    if problems and None not in problems:
        return problems[0]
    # Where T2 named fewer levels than that, all of them are enough.
    limit = min(options.disagreeing_levels, len(canal))
    for view, foramina, problem in zip(t1, levels, t1_problems, strict=True):
        if problem is not None or not canal:
            continue
        if disagreements(view, foramina, canal, options) >= limit:
            return NotAssessedReason.TRANSITIONAL_ANATOMY
    return None


def disagreements(
    view: SagittalView,
    foramina: Mapping[Level, Peak],
    canal: Mapping[Level, Vector],
    options: HeatmapOptions,
) -> int:
    """How many of the levels that T2 named lie nearest to another level of a T1 view.

    T2's levels are counted, however few: they are what would be graded under their names.
    """
    discs_mm = {}
    for level, peak in foramina.items():
        place = view.crop.to_image_px(peak.column, peak.row)
        offset_mm = (0.0, *options.foramen_offset_mm)
        discs_mm[level] = view.volume.planes[0].to_mm(*place) - offset_mm

    def nearest(place: Vector) -> Level:
        return min(discs_mm, key=lambda level: float(np.hypot(*(discs_mm[level] - place)[1:])))

    return sum(nearest(place) is not level for level, place in canal.items())


def canal_problem(view: SagittalView, options: HeatmapOptions) -> NotAssessedReason | None:
    """Why the levels of a T2 series cannot be trusted, None where they can.

    Names that are shifted by one can score high; the lowest disc then does not turn as L5/S1 does.
    """
    canal = view.scores[:, channels(Structure.CANAL)].max(axis=0)
    levels = decode_levels(canal, options)
    discs = decode_levels(view.scores[:, channels(Structure.DISC)].max(axis=0), options)
    found = [peak.score for peak in (*levels.values(), *discs.values())]
    if max(found, default=0.0) < options.clear_score:
        return NotAssessedReason.NOT_LUMBAR
    if not levels or not discs or sum(found) / 2 < options.named_total:
        return NotAssessedReason.TOO_FEW_LEVELS
    shifted = shifted_share(canal, levels, options) > options.shifted_share
    if shifted or not same_names(levels, discs) or not ends_in_a_sacrum(discs, options):
        return NotAssessedReason.TRANSITIONAL_ANATOMY
    return None


def same_names(levels: Mapping[Level, Peak], discs: Mapping[Level, Peak]) -> bool:
    """Whether the disc nearest to each level of the canal has the same name."""

    def nearest(peak: Peak) -> Level:
        return min(
            discs,
            key=lambda name: np.hypot(discs[name].column - peak.column, discs[name].row - peak.row),
        )

    return all(nearest(peak) is level for level, peak in levels.items())


def ends_in_a_sacrum(discs: Mapping[Level, Peak], options: HeatmapOptions) -> bool:
    """Whether the lowest discs lie as L3/L4 to L5/S1 do.

    From L5 to the sacrum the chain of discs turns a little more to the back than above, and
    its last spacing is like the others. S1/S2 taken for L5/S1 turns far more and lies closer.
    """
    if not {Level.L3_L4, Level.L4_L5, Level.L5_S1} <= discs.keys():
        return False
    places = np.array(
        [(discs[level].column, discs[level].row) for level in Level if level in discs]
    )
    steps = np.diff(places, axis=0)
    lengths = np.hypot(*steps.T)
    angles_deg = np.degrees(np.arctan2(steps[:, 0], steps[:, 1]))
    turn_deg, spacing = angles_deg[-1] - angles_deg[-2], lengths[-1] / np.median(lengths)
    least_deg, most_deg = options.sacral_turn_deg
    least, most = options.sacral_spacing
    return bool(least_deg <= turn_deg <= most_deg and least <= spacing <= most)


def series_problem(
    scores: NDArray[np.float32], levels: Mapping[Level, Peak], options: HeatmapOptions
) -> NotAssessedReason | None:
    """Why the levels of a T1 series cannot be trusted, None where they can.

    `scores` has shape (5, height, width), L1/L2 first, the maximum over all slices; `levels`
    holds the peaks that `decode_levels` chose from it. Pictures cut above L5/S1 still give four
    or five names, nearly all wrong by one, but with low scores; one level may be missing at an
    end.
    """
    clear = sum(peak.score >= options.clear_score for peak in levels.values())
    if not clear:
        return NotAssessedReason.NOT_LUMBAR
    if clear < options.clear_levels:
        return NotAssessedReason.TOO_FEW_LEVELS
    if shifted_share(scores, levels, options) > options.shifted_share:
        return NotAssessedReason.TRANSITIONAL_ANATOMY
    return None


def shifted_share(
    scores: NDArray[np.float32], levels: Mapping[Level, Peak], options: HeatmapOptions
) -> float:
    """How well the places fit the names of their neighbours, against their own.

    The mean score of the next name at each place, upward or downward, whichever fits better,
    divided by the mean score of its own. A sixth disc, or a sacrum that cannot be told from a
    fifth vertebra, brings it near 1.
    """
    names = list(Level)
    cells = options.same_place_cells
    own = [_score_near(scores[names.index(level)], peak, cells) for level, peak in levels.items()]
    shifted = []
    for step in (-1, 1):
        others = [
            _score_near(scores[names.index(level) + step], peak, cells)
            for level, peak in levels.items()
            if 0 <= names.index(level) + step < len(names)
        ]
        shifted.append(float(np.mean(others)) if others else 0.0)
    return max(shifted) / float(np.mean(own))


def _score_near(scores: NDArray[np.float32], peak: Peak, cells: int) -> float:
    """The highest score within some heatmap cells of a peak."""
    column, row = (round(value) for value in to_cell(peak.column, peak.row))
    top, left = max(0, row - cells), max(0, column - cells)
    return float(scores[top : row + cells + 1, left : column + cells + 1].max())
