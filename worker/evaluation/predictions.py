"""The input of an evaluation: predictions with their truth, one row each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dicom_sr.findings import Level, Probabilities, Severity, Target


class SagittalWeighting(StrEnum):
    """The weighting of the sagittal image on which a point is detected."""

    T1 = "t1"
    T2 = "t2"


@dataclass(frozen=True)
class GradePrediction:
    """One grade of one image (or study): calibrated posteriors and the label.

    `file` is the image's name in its index. `truth` is None without a label: such a row is
    written to `predictions.csv` and not scored.
    """

    study_id: str
    file: str
    target: Target
    posterior: Probabilities
    truth: Severity | None


@dataclass(frozen=True)
class PointPrediction:
    """One level of one image: the detected point and the marked one.

    Points are (x, y) in fractions of the image's width and height. `found` is None where the
    detector abstained, `truth` is None without a mark. `aspect` is the original height divided
    by the width, `width_mm` the image's width if the pixel spacing is known.
    """

    study_id: str
    file: str
    weighting: SagittalWeighting
    level: Level
    found: tuple[float, float] | None
    confidence: float
    truth: tuple[float, float] | None
    aspect: float = 1.0
    width_mm: float | None = None

    @property
    def error(self) -> float | None:
        """The distance from the mark in fractions of the width; None if a point is missing."""
        if self.found is None or self.truth is None:
            return None
        across, down = (f - t for f, t in zip(self.found, self.truth, strict=True))
        return float((across**2 + (down * self.aspect) ** 2) ** 0.5)


@dataclass(frozen=True)
class Provenance:
    """How many studies were predicted by which networks; never by one trained on the study.

    `held_out` counts studies of the training data, predicted by the members that were not
    trained on them; `unknown` those outside the training data of all members; `left_out` those
    that every member was trained on and that are therefore not evaluated. `problems` holds one
    line for each row that could not be read.
    """

    held_out: int
    unknown: int
    left_out: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class GradeSheet:
    """Every grade of an evaluated folder."""

    rows: tuple[GradePrediction, ...]
    provenance: Provenance


@dataclass(frozen=True)
class PointSheet:
    """Every point of an evaluated folder."""

    rows: tuple[PointPrediction, ...]
    provenance: Provenance
