"""What a report grades: the targets, and the versioned sets that they form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never


class Level(StrEnum):
    """A lumbar intervertebral disc level, named by the vertebrae above and below."""

    L1_L2 = "L1/L2"
    L2_L3 = "L2/L3"
    L3_L4 = "L3/L4"
    L4_L5 = "L4/L5"
    L5_S1 = "L5/S1"


class Side(StrEnum):
    """The patient's side (laterality), never the viewer's."""

    LEFT = "left"
    RIGHT = "right"


class Condition(StrEnum):
    """A condition that is graded."""

    SPINAL_CANAL_STENOSIS = "spinal_canal_stenosis"
    NEURAL_FORAMINAL_NARROWING = "neural_foraminal_narrowing"
    SUBARTICULAR_STENOSIS = "subarticular_stenosis"

    @property
    def sides(self) -> tuple[Side | None, ...]:
        """The sides on which this condition is graded; `(None,)` for the canal."""
        match self:
            case Condition.SPINAL_CANAL_STENOSIS:
                return (None,)
            case Condition.NEURAL_FORAMINAL_NARROWING | Condition.SUBARTICULAR_STENOSIS:
                return (Side.LEFT, Side.RIGHT)
            case _:
                assert_never(self)

    @property
    def label(self) -> str:
        """The condition as a radiologist writes it, in lower case."""
        return self.value.replace("_", " ")


@dataclass(frozen=True, order=True)
class Target:
    """One condition at one level, on one side where the condition has sides.

    Raises ValueError when the side is not one of the condition's sides.
    """

    condition: Condition
    level: Level
    side: Side | None = None

    def __post_init__(self) -> None:
        if self.side not in self.condition.sides:
            raise ValueError(f"{self.condition.label} at {self.level} has no side {self.side!r}")

    def __str__(self) -> str:
        """The label drawn beside the point, such as `L4/L5 left subarticular stenosis`."""
        return " ".join(filter(None, (self.level, self.side, self.condition.label)))

    @classmethod
    def parse(cls, text: str) -> Target:
        """The target of the current set whose `str(target)` is `text`.

        Raises ValueError with the text when there is none.
        """
        for target in TARGETS:
            if str(target) == text.strip():
                return target
        raise ValueError(f"unknown target {text!r}; for example: {TARGETS[-2]!s}")


FIRST_TARGET_SET: Final = "rsna-2024/1"
"""The set of every report that does not name one: they were written before sets had names."""
CURRENT_TARGET_SET: Final = "rsna-2024/1"
"""The set that new reports use."""

TARGET_SETS: Final[Mapping[str, tuple[Target, ...]]] = {
    # Written out: a new level or condition makes a new set and leaves this one as it is.
    "rsna-2024/1": tuple(
        Target(condition, level, side)
        for condition, sides in (
            (Condition.SPINAL_CANAL_STENOSIS, (None,)),
            (Condition.NEURAL_FORAMINAL_NARROWING, (Side.LEFT, Side.RIGHT)),
            (Condition.SUBARTICULAR_STENOSIS, (Side.LEFT, Side.RIGHT)),
        )
        for side in sides
        for level in (Level.L1_L2, Level.L2_L3, Level.L3_L4, Level.L4_L5, Level.L5_S1)
    ),
}
"""The targets of each set, in the order in which reports list them."""

TARGETS: Final[tuple[Target, ...]] = TARGET_SETS[CURRENT_TARGET_SET]
"""The targets of the current set."""


def targets_of(target_set: str) -> tuple[Target, ...]:
    """The targets of a set; raises ValueError with the known names when there is no such set."""
    try:
        return TARGET_SETS[target_set]
    except KeyError:
        known = ", ".join(TARGET_SETS)
        raise ValueError(f"unknown target set {target_set[:64]!r}; known: {known}") from None
