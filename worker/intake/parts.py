"""Of a series that mixes several images of one place, the part that can be used.

Scanners and exporters store the water, fat, in-phase and opposed-phase images of a Dixon
set, or the echoes of one acquisition, as one series: a volume must hold one contrast.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset

from worker.domain.study import SliceHeader
from worker.intake import kinds
from worker.intake.acquisition import read_acquisition
from worker.intake.rules import FLUID_TE_MS
from worker.intake.weighting import Weighting, weigh


@dataclass(frozen=True, eq=False)
class Sliced:
    """One slice, where it was read, and the two things that tell parts of a series apart.

    `frame` holds its functional groups, None for a classic image; `echo_time_ms` is None
    where it is absent.
    """

    header: SliceHeader
    source: Dataset
    frame: Dataset | None
    image_type: kinds.Kinds
    echo_time_ms: float | None


def usable_part(found: Sequence[Sliced]) -> tuple[Sequence[Sliced], Counter[str]]:
    """The slices to use, in their order, and how many others there are by the reason why not.

    Where no slice can be used all stay, for routing to reject.
    """
    of_kind, unusable = _by_kind(found)
    of_echo, other_echoes = _by_echo(of_kind)
    return of_echo, unusable + other_echoes


def _by_kind(found: Sequence[Sliced]) -> tuple[Sequence[Sliced], Counter[str]]:
    """Without fat, phases, maps and the like, where something else is left; water before all."""
    met = {one.image_type for one in found}
    against = {kind: reason for kind in met if (reason := kinds.unusable(kind)) is not None}
    usable = met - against.keys()
    if len(met) == 1 or not usable:
        return found, Counter()
    water = {kind for kind in usable if kinds.water(kind)}
    if water:
        against |= dict.fromkeys(usable - water, "not the water image of its Dixon set")
    return (
        [one for one in found if one.image_type not in against],
        Counter(against[one.image_type] for one in found if one.image_type in against),
    )


def _by_echo(found: Sequence[Sliced]) -> tuple[Sequence[Sliced], Counter[str]]:
    """One echo of each place, the best where several show it; blocks elsewhere may differ in TE.

    An echo of another contrast that shares a place is left out whole: where the better one
    misses a slice, there is none.
    """
    echoes: defaultdict[float | None, list[Sliced]] = defaultdict(list)
    for one in found:
        echoes[one.echo_time_ms].append(one)
    if len(echoes) < 2:
        return found, Counter()
    best, *others = sorted(echoes.values(), key=_merit, reverse=True)
    contrast, shown = _contrast(best), {_place(one) for one in best}
    left_out: set[SliceHeader] = set()
    for echo in others:
        shared = [one for one in echo if _place(one) in shown]
        if shared and _contrast(echo) != contrast:
            shared = echo
        left_out |= {one.header for one in shared}
        shown |= {_place(one) for one in echo if one.header not in left_out}
    return (
        [one for one in found if one.header not in left_out],
        Counter(
            f"another echo: {_te(one)} beside {_te(best[0])}"
            for one in found
            if one.header in left_out
        ),
    )


def _place(one: Sliced) -> tuple[float, ...]:
    """Where a slice lies and how it is angled: blocks that cross may share an origin."""
    plane = one.header.plane
    return tuple(round(value, 1) for value in (*plane.position_mm, *plane.normal))


def _contrast(echo: Sequence[Sliced]) -> tuple[Weighting | None, bool]:
    """The weighting of an echo, and whether it shows more than fluid."""
    first = echo[0]
    weighting = weigh(read_acquisition(first.source, first.frame)).weighting
    return weighting, (first.echo_time_ms or 0.0) < FLUID_TE_MS


def _merit(echo: Sequence[Sliced]) -> tuple[bool, int, float]:
    """Larger is better: T2 weighting, slices, then a long echo for T2 and a short one for T1."""
    weighting, tissue = _contrast(echo)
    te = echo[0].echo_time_ms or 0.0
    t2 = weighting is not None and weighting.family == "T2" and tissue
    return t2, len(echo), te if t2 else -te


def _te(one: Sliced) -> str:
    return "no TE" if one.echo_time_ms is None else f"TE {one.echo_time_ms:.0f} ms"
