"""The nouns of an evaluation: figures with their intervals, per condition and level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dicom_sr.findings import Condition, Level
from worker.evaluation.predictions import GradeSheet, PointSheet, Weighting


class Task(StrEnum):
    """What is evaluated; the value is the command's verb."""

    FORAMINAL = "foraminal"
    AXIAL = "axial"
    LEVELS = "levels"
    RSNA = "rsna"


@dataclass(frozen=True)
class Figure:
    """One figure with its 95 % interval; None where it cannot be computed."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability curve: how many rows, what was said, what was true (0..1)."""

    n: int
    predicted: float
    observed: float


@dataclass(frozen=True)
class Coverage:
    """Accuracy of the share of rows (0..1) that are at least as confident as `threshold`."""

    coverage: float
    threshold: float
    accuracy: float


@dataclass(frozen=True)
class Curves:
    """What a grade group's plots are drawn from.

    `roc` holds, by figure name, the false and true positive rates at each threshold.
    """

    reliability: tuple[Bin, ...]
    coverage: tuple[Coverage, ...]
    roc: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]


@dataclass(frozen=True)
class GradeGroup:
    """The grades of one condition, at one level or at all of them (`level` None).

    `counts` holds the labels per class; `confusion` the rows by [truth][decision];
    `figures` what stands in `worker.evaluation.labels.GRADE_FIGURES`; `classes` precision,
    recall and f1 by severity value.
    """

    condition: Condition
    level: Level | None
    n: int
    studies: int
    counts: tuple[int, ...]
    figures: Mapping[str, Figure]
    classes: Mapping[str, Mapping[str, Figure]]
    confusion: tuple[tuple[int, ...], ...]
    curves: Curves


@dataclass(frozen=True)
class PointGroup:
    """The points of one weighting, at one level or at all of them (`level` None).

    `n` counts marked points; `errors` are those of the found ones, ascending, in fractions
    of the width; `figures` hold what stands in `worker.evaluation.labels.POINT_FIGURES`.
    """

    weighting: Weighting
    level: Level | None
    n: int
    studies: int
    figures: Mapping[str, Figure]
    errors: tuple[float, ...] = field(repr=False)


@dataclass(frozen=True)
class Evaluation:
    """All that is known about one evaluated folder.

    `competition` holds the challenge's score, where all three conditions are labelled:
    `score`, its three losses by condition and `any_severe_spinal`.
    """

    task: Task
    grades: GradeSheet | None
    points: PointSheet | None
    grade_groups: tuple[GradeGroup, ...]
    point_groups: tuple[PointGroup, ...]
    competition: Mapping[str, Figure]
    resamples: int
    seed: int

    @property
    def problems(self) -> tuple[str, ...]:
        """A line for every row that could not be read, each once."""
        sheets = (sheet for sheet in (self.grades, self.points) if sheet is not None)
        return tuple(dict.fromkeys(p for sheet in sheets for p in sheet.provenance.problems))

    def grade_group(self, condition: Condition, level: Level | None = None) -> GradeGroup | None:
        """The group of a condition, if it was evaluated."""
        found = (g for g in self.grade_groups if (g.condition, g.level) == (condition, level))
        return next(found, None)

    def point_group(self, weighting: Weighting, level: Level | None = None) -> PointGroup | None:
        """The group of a weighting, if it was evaluated."""
        found = (g for g in self.point_groups if (g.weighting, g.level) == (weighting, level))
        return next(found, None)


@dataclass(frozen=True)
class About:
    """What was evaluated with what: for the record, and so that it can be repeated.

    `inputs` are the command's own, JSON types.
    """

    bundle_name: str
    bundle_version: str
    bundle_sha256: str
    inputs: Mapping[str, Any]
