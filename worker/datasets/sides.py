"""Whether left and right of a level lie on their own sides of the patient.

A few studies have left and right swapped, or both on one slice. Whether the label or the
point is wrong cannot be known, so what contradicts is left out and told, never mended.
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
class Place:
    """Where a sided point lies along the patient's left-right axis, in any one unit.

    `group` names what is judged together: a study, or a series of one.
    """

    group: str
    level: Level
    side: Side
    along: float


def contradictions(places: Sequence[Place], *, leftward: bool) -> Mapping[str, frozenset[Level]]:
    """The levels of each group whose sides contradict; all five where half or more do.

    With `leftward` the axis runs to the patient's left (LPS x); otherwise its direction is
    unknown (the order of slices), and it is taken to be what most levels say. A level with
    one side alone cannot be judged, and falls only with its group.
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
    table: Table[Row], path: Path, place: Callable[[Row], Place], *, leftward: bool
) -> Table[Row]:
    """The table without the rows whose sides contradict: one problem a group, by its first line.

    `path` is the file that the table's lines count.
    """
    places = [place(row) for row in table.rows]
    doubts = contradictions(places, leftward=leftward)
    kept: list[tuple[Row, int]] = []
    lost: dict[str, list[int]] = defaultdict(list)
    for row, here, line in zip(table.rows, places, table.lines, strict=True):
        if here.level in doubts.get(here.group, frozenset()):
            lost[here.group].append(line)
        else:
            kept.append((row, line))
    problems = [
        f"{path}:{lines[0]}: {group}: left and right contradict each other at "
        f"{'most levels' if len(doubts[group]) == len(Level) else ', '.join(sorted(doubts[group]))}"
        f"; {len(lines)} points left out"
        for group, lines in lost.items()
    ]
    return replace(
        table,
        rows=tuple(row for row, _ in kept),
        lines=tuple(line for _, line in kept),
        problems=(*table.problems, *problems),
        skipped={**table.skipped, CONTRADICT: sum(map(len, lost.values()))},
    )
