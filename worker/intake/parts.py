"""Splits what lies under one Series Instance UID into stacks of one plane and one contrast.

Importers put a whole study into one series, and consoles store the planning picture of an axial
series with it. A role needs one plane and one weighting, so each stack is a series of its own here.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from worker.domain.geometry import Orientation
from worker.domain.study import Series
from worker.intake.acquisition import read_acquisition
from worker.intake.mixed_series import SourceSlice, usable_slices
from worker.intake.rules import MIN_SLICES
from worker.intake.stacks import SCOUT_ANGLE_DEG
from worker.intake.weighting import decide_weighting

_ODD_SHARE: Final = 0.2
"""Slices in other planes are odd pictures up to this share; beyond it the series is a localiser,
whose planes have a third each, unless every plane has a whole stack."""
_STACK_SLICES: Final = 8
"""Sagittal and axial stacks of the spine have more than ten slices, planes of a localiser up to
five."""


@dataclass(frozen=True, eq=False)
class Part:
    """Slices of one plane and contrast, and the number of others left out of it, by reason."""

    slices: Sequence[SourceSlice]
    left_out: Counter[str]


def parts_of(found: Sequence[SourceSlice]) -> list[Part]:
    """The parts of one series, at least one, the largest first; every slice is in one of them.

    A part holds the slices that it uses and counts those that it leaves out.
    """
    planes, odd = _by_plane(found)
    contrasts = [contrast for plane in planes for contrast in _by_weighting(plane)]
    contrasts.sort(key=len, reverse=True)
    parts = []
    for contrast in contrasts:
        used, left_out = usable_slices(contrast)
        of_pass, repeated = _last_pass(used)
        parts.append(Part(of_pass, left_out + repeated))
    parts[0].left_out.update(odd)
    return parts


def _by_plane(
    found: Sequence[SourceSlice],
) -> tuple[list[Sequence[SourceSlice]], Counter[str]]:
    """The stacks of a series whose planes lie far apart, and the odd pictures left out."""
    groups = _directions(found)
    if len(groups) < 2:
        return [found], Counter()
    groups.sort(key=len, reverse=True)
    stacks = [group for group in groups if len(group) >= _STACK_SLICES]
    odd = sum(map(len, groups)) - sum(map(len, stacks))
    if len(stacks) == 1 and len(stacks[0]) < (1 - _ODD_SHARE) * len(found):
        return [found], Counter()
    if len(groups[0]) >= max(MIN_SLICES, (1 - _ODD_SHARE) * len(found)):
        stacks = stacks or groups[:1]
        odd = len(found) - sum(map(len, stacks))
    if not stacks or odd > _ODD_SHARE * len(found):
        return [found], Counter()
    return list(stacks), Counter({"in another plane than its series": odd} if odd else {})


def _directions(found: Sequence[SourceSlice]) -> list[list[SourceSlice]]:
    """The slices grouped by normals that lie more than `SCOUT_ANGLE_DEG` apart, in their order."""
    normals = np.array([one.header.plane.normal for one in found]).reshape(-1, 3)
    groups: list[list[SourceSlice]] = []
    left = np.ones(len(found), dtype=bool)
    limit = math.cos(math.radians(SCOUT_ANGLE_DEG))
    while left.any():
        rounded = normals[left].round(1)
        directions, counts = np.unique(rounded * _sign(rounded), axis=0, return_counts=True)
        most = directions[np.argmax(counts)]
        near = left & (np.abs(normals @ most) / np.linalg.norm(most) >= limit)
        groups.append([one for one, member in zip(found, near, strict=True) if member])
        left &= ~near
    return groups


def _sign(normals: np.ndarray) -> np.ndarray:
    """1 or -1 for each normal, so that opposite ones count as one direction; shape (slices, 1)."""
    largest = np.take_along_axis(normals, np.abs(normals).argmax(axis=1)[:, None], axis=1)
    return np.where(largest < 0, -1.0, 1.0)


def _by_weighting(found: Sequence[SourceSlice]) -> list[Sequence[SourceSlice]]:
    """The slices by T1 or T2 weighting where each has a whole stack, else all together."""
    echoes: defaultdict[float | None, list[SourceSlice]] = defaultdict(list)
    for one in found:
        echoes[one.echo_time_ms].append(one)
    if len(echoes) < 2:
        return [found]
    families: defaultdict[str, list[SourceSlice]] = defaultdict(list)
    for echo in echoes.values():
        weighting = decide_weighting(read_acquisition(echo[0].source, echo[0].frame)).weighting
        families["" if weighting is None else weighting.family].extend(echo)
    if any(len(families[name]) < MIN_SLICES for name in ("T1", "T2")):
        return [found]
    members = {id(one): name for name, group in families.items() for one in group}
    return [[one for one in found if members[id(one)] == name] for name in families]


def _last_pass(found: Sequence[SourceSlice]) -> tuple[Sequence[SourceSlice], Counter[str]]:
    """One pass of a scan that was repeated after motion: the last complete one.

    Passes are told apart by their acquisition; where nothing tells them apart, nothing is left
    out here, and of slices at one position one is used.
    """
    for key in (_number, _time):
        passes: defaultdict[str | int, list[SourceSlice]] = defaultdict(list)
        for one in found:
            passes[key(one)].append(one)
        places = {one: {_place(each) for each in group} for one, group in passes.items()}
        whole = max(map(len, places.values()), default=0)
        repeats = sum(map(len, places.values())) - len(set().union(*places.values()))
        # Blocks of one pass differ in their acquisition too; a repeated scan shares its places.
        smallest = min(map(len, places.values()), default=0)
        if len(passes) < 2 or whole < MIN_SLICES or repeats < max(1, smallest / 2):
            continue
        complete = [group for one, group in passes.items() if len(places[one]) >= 0.9 * whole]
        used = max(complete, key=lambda group: max((_time(one), _number(one)) for one in group))
        left_out = {"an earlier or incomplete pass of the scan": len(found) - len(used)}
        return used, Counter(left_out)
    return found, Counter()


def _number(one: SourceSlice) -> int:
    return one.acquisition[1]


def _time(one: SourceSlice) -> str:
    return one.acquisition[0]


def _place(one: SourceSlice) -> tuple[float, ...]:
    return tuple(round(value, 1) for value in one.header.plane.position_mm)


def with_companions(series: Sequence[Series]) -> tuple[Series, ...]:
    """Count the slices of short axial series together that belong to one scan.

    Many sites acquire three or four slices at each disc, each block as a series.
    """
    blocks: defaultdict[tuple[object, ...], list[Series]] = defaultdict(list)
    for one in series:
        if 0 < len(one.slices) < MIN_SLICES and _is_axial(one):
            blocks[_scan(one)].append(one)
    total = {scan: sum(len(one.slices) for one in found) for scan, found in blocks.items()}
    return tuple(
        replace(one, companions=total[_scan(one)] - len(one.slices))
        if 0 < len(one.slices) < MIN_SLICES and _is_axial(one)
        else one
        for one in series
    )


def _is_axial(series: Series) -> bool:
    return {header.plane.orientation for header in series.slices} == {Orientation.AXIAL}


def _scan(series: Series) -> tuple[object, ...]:
    """What blocks of one scan have in common."""
    plane, found = series.slices[0].plane, series.acquisition
    return (
        (plane.rows, plane.columns, round(plane.row_spacing_mm, 2)),
        round((found.echo_time_ms or 0.0) / 5),
        decide_weighting(found).weighting,
        series.patient_position,
    )
