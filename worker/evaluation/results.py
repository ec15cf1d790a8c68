"""The results of an evaluation: metrics with their intervals, by condition and level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import Condition, Level
from worker.evaluation.predictions import GradeSheet, PointSheet, SagittalWeighting

Floats = NDArray[np.float64]

Labels = NDArray[np.int64]
"""Shape (n,): 0 Normal/Mild, 1 Moderate, 2 Severe."""


class Task(StrEnum):
    """The kind of evaluation; the value is the subcommand of `lumbar evaluate`."""

    FORAMINAL = "foraminal"
    AXIAL = "axial"
    LEVELS = "levels"
    RSNA = "rsna"


@dataclass(frozen=True)
class Estimate:
    """A metric's value with its 95 % interval; None where it cannot be computed."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability curve: number of rows, mean prediction, observed share (0..1)."""

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
    """The curves of a grade group's plots.

    `roc` holds, by metric name, the false and true positive rates at each threshold.
    """

    reliability: tuple[Bin, ...]
    coverage: tuple[Coverage, ...]
    roc: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]


@dataclass(frozen=True)
class GradeGroup:
    """The grades of one condition, at one level or at all of them (`level` None).

    `counts` holds the labels per class; `confusion` the rows by [truth][decision];
    `metrics` has the names of `worker.evaluation.labels.GRADE_METRICS`; `classes` holds
    precision, recall and f1 by severity value.
    """

    condition: Condition
    level: Level | None
    n: int
    studies: int
    counts: tuple[int, ...]
    metrics: Mapping[str, Estimate]
    classes: Mapping[str, Mapping[str, Estimate]]
    confusion: tuple[tuple[int, ...], ...]
    curves: Curves


@dataclass(frozen=True)
class PointGroup:
    """The points of one weighting, at one level or at all of them (`level` None).

    `n` counts marked points; `errors` holds those of the detected points, ascending, in
    fractions of the width; `metrics` has the names of
    `worker.evaluation.labels.POINT_METRICS`.
    """

    weighting: SagittalWeighting
    level: Level | None
    n: int
    studies: int
    metrics: Mapping[str, Estimate]
    errors: tuple[float, ...] = field(repr=False)


@dataclass(frozen=True)
class Evaluation:
    """All results of one evaluated folder.

    `competition` holds the challenge's score, if all three conditions have labels:
    `score`, its three losses by condition and `any_severe_spinal`.
    """

    task: Task
    grades: GradeSheet | None
    points: PointSheet | None
    grade_groups: tuple[GradeGroup, ...]
    point_groups: tuple[PointGroup, ...]
    competition: Mapping[str, Estimate]
    resamples: int
    seed: int

    @property
    def problems(self) -> tuple[str, ...]:
        """One line for each row that could not be read, without duplicates."""
        sheets = (sheet for sheet in (self.grades, self.points) if sheet is not None)
        return tuple(dict.fromkeys(p for sheet in sheets for p in sheet.provenance.problems))

    def grade_group(self, condition: Condition, level: Level | None = None) -> GradeGroup | None:
        """The group of a condition, or None if it was not evaluated."""
        groups = (g for g in self.grade_groups if (g.condition, g.level) == (condition, level))
        return next(groups, None)

    def point_group(
        self, weighting: SagittalWeighting, level: Level | None = None
    ) -> PointGroup | None:
        """The group of a weighting, or None if it was not evaluated."""
        groups = (g for g in self.point_groups if (g.weighting, g.level) == (weighting, level))
        return next(groups, None)


@dataclass(frozen=True)
class RunInfo:
    """The bundle and the inputs of an evaluation, so that it can be repeated.

    `inputs` holds the command's arguments as JSON types.
    """

    bundle_name: str
    bundle_version: str
    bundle_sha256: str
    inputs: Mapping[str, Any]
