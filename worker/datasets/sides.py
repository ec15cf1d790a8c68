"""Checks that left and right of a level lie on the correct sides of the patient.

A few studies have left and right swapped, or both on one slice. Whether label or point is
wrong is unknown, so such rows are left out and reported, never corrected.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Final, TypeVar

from dicom_sr.findings import Level, Side
from worker.datasets.tables import Table

CONTRADICT: Final = "left and right contradict"

Row = TypeVar("Row")


@dataclass(frozen=True)
class SidedPosition:
    """The position of a sided point along the left-right axis of the patient, in any unit.

    `group` names the points that are checked together: a study, or one of its series.
    """

    group: str
    level: Level
    side: Side
    along: float


def contradictions(
    places: Sequence[SidedPosition], *, leftward: bool
) -> Mapping[str, frozenset[Level]]:
    """The levels of each group whose sides contradict; all levels where half or more do.

    With `leftward` the axis points to the patient's left (LPS x); otherwise its direction is
    unknown (order of slices) and taken from the majority of levels. A level with one side
    only cannot be checked, and is left out only with its whole group.
    """
    sides: dict[str, dict[Level, dict[Side, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for place in places:
        sides[place.group][place.level][place.side].append(place.along)
    found = {}
    for group, levels in sides.items():
        apart = {
            level: mean(by_side[Side.LEFT]) - mean(by_side[Side.RIGHT])
            for level, by_side in levels.items()
            if len(by_side) == len(Side)
        }
        if not leftward and sum((d > 0) - (d < 0) for d in apart.values()) < 0:
            apart = {level: -d for level, d in apart.items()}
        wrong = frozenset(level for level, d in apart.items() if d <= 0)
        if wrong:
            found[group] = frozenset(Level) if 2 * len(wrong) >= len(apart) else wrong
    return found


def without_contradictions(
    table: Table[Row], path: Path, place: Callable[[Row], SidedPosition], *, leftward: bool
) -> Table[Row]:
    """The table without rows whose sides contradict, with one problem for each group.

    `path` is the file of the table, for the problems.
    """
    places = [place(row) for row in table.rows]
    contradicting = contradictions(places, leftward=leftward)
    kept: list[tuple[Row, int]] = []
    left_out: dict[str, list[int]] = defaultdict(list)
    for row, here, line in zip(table.rows, places, table.lines, strict=True):
        if here.level in contradicting.get(here.group, frozenset()):
            left_out[here.group].append(line)
        else:
            kept.append((row, line))
    problems = [
        f"{path}:{lines[0]}: {group}: left and right contradict each other at "
        f"{_names(contradicting[group])}; {len(lines)} points left out"
        for group, lines in left_out.items()
    ]
    return replace(
        table,
        rows=tuple(row for row, _ in kept),
        lines=tuple(line for _, line in kept),
        problems=(*table.problems, *problems),
        skipped={**table.skipped, CONTRADICT: sum(map(len, left_out.values()))},
    )


def _names(levels: frozenset[Level]) -> str:
    return "most levels" if len(levels) == len(Level) else ", ".join(sorted(levels))
