"""What an evaluation is made from: predictions beside the truth, one row each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dicom_sr.findings import Level, Probabilities, Severity, Target


class Weighting(StrEnum):
    """What kind of picture a point was looked for on."""

    T1 = "t1"
    T2 = "t2"


@dataclass(frozen=True)
class GradePrediction:
    """One grade of one picture (or study): calibrated posteriors beside the label.

    `file` names the picture as its index does. `truth` is None where there is no label:
    such a row is written to `predictions.csv` and not scored.
    """

    study_id: str
    file: str
    target: Target
    posterior: Probabilities
    truth: Severity | None


@dataclass(frozen=True)
class PointPrediction:
    """One level of one picture: where it was found, beside where it was marked.

    Places are (x, y) in fractions of the picture's width and height; `found` is None where
    the detector abstained, `truth` None where nothing is marked. `aspect` is the original
    height over the width, `width_mm` the picture's width where millimetres are known.
    """

    study_id: str
    file: str
    weighting: Weighting
    level: Level
    found: tuple[float, float] | None
    confidence: float
    truth: tuple[float, float] | None
    aspect: float = 1.0
    width_mm: float | None = None

    @property
    def error(self) -> float | None:
        """The distance from the mark in fractions of the width; None without either place."""
        if self.found is None or self.truth is None:
            return None
        across, down = (f - t for f, t in zip(self.found, self.truth, strict=True))
        return float((across**2 + (down * self.aspect) ** 2) ** 0.5)


@dataclass(frozen=True)
class Provenance:
    """Which studies were predicted by what: no study is predicted by what learnt from it.

    `held_out` counts studies of the training data predicted by the members that had not
    seen them, `unknown` those that no member has seen, `left_out` those that every member
    has seen and that are therefore not evaluated. `problems` holds a line for every row
    that could not be read.
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
