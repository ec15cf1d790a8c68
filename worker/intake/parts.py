"""Of a series that mixes several images of one place, the part that can be used.

Scanners and exporters store the water, fat, in-phase and opposed-phase images of a Dixon
set, or the echoes of one acquisition, as one series: a volume must hold one contrast.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom import Dataset

from worker.intake import kinds
from worker.intake.acquisition import read_acquisition
from worker.intake.rules import FLUID_TE_MS
from worker.intake.weighting import weigh
from worker.nouns.study import SliceHeader


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
    """One echo, where several show one place; slice groups elsewhere may differ in TE."""
    echoes: defaultdict[float | None, list[Sliced]] = defaultdict(list)
    for one in found:
        echoes[one.echo_time_ms].append(one)
    if len(echoes) == 1 or not _share_places(echoes.values()):
        return found, Counter()
    best = max(echoes.values(), key=_merit)
    others = [one for echo in echoes.values() if echo is not best for one in echo]
    return best, Counter(f"another echo: {_te(one)} beside {_te(best[0])}" for one in others)


def _share_places(echoes: Iterable[Sequence[Sliced]]) -> bool:
    seen: set[tuple[float, ...]] = set()
    for echo in echoes:
        places = {tuple(round(v, 1) for v in one.header.plane.position_mm) for one in echo}
        if places & seen:
            return True
        seen |= places
    return False


def _merit(echo: Sequence[Sliced]) -> tuple[bool, int, float]:
    """Larger is better: T2 weighting, slices, then a long echo for T2 and a short one for T1."""
    first = echo[0]
    weighting = weigh(read_acquisition(first.source, first.frame)).weighting
    te = first.echo_time_ms or 0.0
    t2 = weighting is not None and weighting.family == "T2" and te < FLUID_TE_MS
    return t2, len(echo), te if t2 else -te


def _te(one: Sliced) -> str:
    return "no TE" if one.echo_time_ms is None else f"TE {one.echo_time_ms:.0f} ms"
