"""Selects the usable slices of a series that mixes several contrasts.

Scanners and exporters store the water, fat, in-phase and opposed-phase images of a Dixon
set, or the echoes of one acquisition, as one series; a volume must have one contrast.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset

from worker.domain.study import SliceHeader
from worker.intake import image_types
from worker.intake.acquisition import read_acquisition
from worker.intake.rules import FLUID_TE_MS
from worker.intake.weighting import Weighting, decide_weighting


@dataclass(frozen=True, eq=False)
class SourceSlice:
    """One slice, its source, and the image type and echo time by which contrasts differ.

    `frame` holds its functional groups, None for a classic image; `echo_time_ms` is None
    where it is absent.
    """

    header: SliceHeader
    source: Dataset
    frame: Dataset | None
    image_type: image_types.ImageType
    echo_time_ms: float | None
    acquisition: tuple[str, int] = ("", 0)
    """When it was acquired, and Acquisition Number: these tell the passes of a scan apart."""


def usable_slices(found: Sequence[SourceSlice]) -> tuple[Sequence[SourceSlice], Counter[str]]:
    """The slices to use, in their order, and the number of others by reason.

    Where no slice is usable, all are returned, and routing rejects the series.
    """
    of_type, unusable = _by_image_type(found)
    of_echo, other_echoes = _by_echo(of_type)
    return of_echo, unusable + other_echoes


def _by_image_type(found: Sequence[SourceSlice]) -> tuple[Sequence[SourceSlice], Counter[str]]:
    """Drop fat, phase images, maps and the like unless nothing else is left; prefer water."""
    types = {one.image_type for one in found}
    dropped = {each: reason for each in types if (reason := image_types.unusable(each)) is not None}
    usable = types - dropped.keys()
    if len(types) == 1 or not usable:
        return found, Counter()
    water = {each for each in usable if image_types.water(each)}
    if water:
        dropped |= dict.fromkeys(usable - water, "not the water image of its Dixon set")
    return (
        [one for one in found if one.image_type not in dropped],
        Counter(dropped[one.image_type] for one in found if one.image_type in dropped),
    )


def _by_echo(found: Sequence[SourceSlice]) -> tuple[Sequence[SourceSlice], Counter[str]]:
    """Keep the best echo of each location; blocks at other locations may differ in TE.

    An echo of another contrast that shares a location is dropped entirely, also at locations
    that the better one does not cover.
    """
    echoes: defaultdict[float | None, list[SourceSlice]] = defaultdict(list)
    for one in found:
        echoes[one.echo_time_ms].append(one)
    if len(echoes) < 2:
        return found, Counter()
    best, *others = sorted(echoes.values(), key=_quality, reverse=True)
    contrast, covered = _contrast(best), {_location(one) for one in best}
    left_out: set[SliceHeader] = set()
    for echo in others:
        shared = [one for one in echo if _location(one) in covered]
        if shared and _contrast(echo) != contrast:
            shared = echo
        left_out |= {one.header for one in shared}
        covered |= {_location(one) for one in echo if one.header not in left_out}
    return (
        [one for one in found if one.header not in left_out],
        Counter(
            f"another echo: {_te(one)}, used: {_te(best[0])}"
            for one in found
            if one.header in left_out
        ),
    )


def _location(one: SourceSlice) -> tuple[float, ...]:
    """Position and normal of a slice: crossing blocks may share a position."""
    plane = one.header.plane
    return tuple(round(value, 1) for value in (*plane.position_mm, *plane.normal))


def _contrast(echo: Sequence[SourceSlice]) -> tuple[Weighting | None, bool]:
    """The weighting of an echo, and whether tissue other than fluid has signal."""
    first = echo[0]
    weighting = decide_weighting(read_acquisition(first.source, first.frame)).weighting
    return weighting, (first.echo_time_ms or 0.0) < FLUID_TE_MS


def _quality(echo: Sequence[SourceSlice]) -> tuple[bool, int, float]:
    """Sort key, larger is better: T2 weighting, slices, long TE for T2 and short TE for T1."""
    weighting, tissue = _contrast(echo)
    te = echo[0].echo_time_ms or 0.0
    t2 = weighting is not None and weighting.family == "T2" and tissue
    return t2, len(echo), te if t2 else -te


def _te(one: SourceSlice) -> str:
    return "no TE" if one.echo_time_ms is None else f"TE {one.echo_time_ms:.0f} ms"
