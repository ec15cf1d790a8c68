"""The content of a lumbar report, independent of how it is stored.

A `Report` is canonical by construction: its findings are in the order of its target
set, pixel coordinates are rounded to 1/64 (exact in the float32 that DICOM SCOORD
stores) and probabilities to 1e-6. A report that is written as a Structured Report and
read back is therefore equal to the original.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from dicom_sr.reasons import NotAssessedReason
from dicom_sr.targets import (
    CURRENT_TARGET_SET,
    TARGET_SETS,
    TARGETS,
    Condition,
    Level,
    Side,
    Target,
    targets_of,
)

__all__ = [
    "CURRENT_TARGET_SET",
    "TARGETS",
    "TARGET_SETS",
    "BundleIdentity",
    "Condition",
    "Finding",
    "Graded",
    "ImagePoint",
    "ImageReference",
    "Level",
    "NotAssessed",
    "NotAssessedReason",
    "Probabilities",
    "Report",
    "Severity",
    "Side",
    "Target",
    "targets_of",
]


class Severity(StrEnum):
    """The three grades of the RSNA 2024 challenge; Normal and Mild are one class."""

    NORMAL_MILD = "normal_mild"
    MODERATE = "moderate"
    SEVERE = "severe"

    @property
    def label(self) -> str:
        """The grade as reports print it."""
        match self:
            case Severity.NORMAL_MILD:
                return "Normal/Mild"
            case Severity.MODERATE:
                return "Moderate"
            case Severity.SEVERE:
                return "Severe"
            case _:
                assert_never(self)

    @property
    def rank(self) -> int:
        """0 for Normal/Mild, 1 for Moderate, 2 for Severe."""
        return list(Severity).index(self)


@dataclass(frozen=True)
class ImageReference:
    """One image (or one frame of a multi-frame image) of one series.

    Series and SOP Instance UID are kept together because research exports repeat SOP
    Instance UIDs between series. `frame` counts from 1 (DICOM PS3.3 C.17.3.2.1), None
    for a single-frame image.
    """

    series_instance_uid: str
    sop_instance_uid: str
    frame: int | None = None


@dataclass(frozen=True)
class ImagePoint:
    """A point on one image: column and row in pixels, 0-based, (0, 0) the centre of the first."""

    image: ImageReference
    column: float
    row: float

    def __post_init__(self) -> None:
        for name in ("column", "row"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ValueError(f"point {name} must be finite, not {value}")
            object.__setattr__(self, name, round(value * 64) / 64)


@dataclass(frozen=True)
class Probabilities:
    """Calibrated class probabilities in full precision.

    Raises ValueError when one lies outside of 0..1 or they do not sum to one.
    """

    normal_mild: float
    moderate: float
    severe: float

    def __post_init__(self) -> None:
        values = (self.normal_mild, self.moderate, self.severe)
        if not all(math.isfinite(v) and -1e-6 <= v <= 1 + 1e-6 for v in values):
            raise ValueError(f"probabilities must lie in 0..1, not {values}")
        if abs(sum(values) - 1) > 1e-4:
            raise ValueError(f"probabilities must sum to 1, not {sum(values)}")

    def rounded(self) -> Probabilities:
        """The canonical form that reports store: each in 0..1, rounded to 1e-6, sum exactly one."""
        # Rounding two and taking the third as the rest keeps the sum exact; rounding the
        # rest once more makes the rule idempotent, so a report read back is equal.
        severe, moderate = (round(min(max(v, 0.0), 1.0), 6) for v in (self.severe, self.moderate))
        return Probabilities(max(0.0, round(1 - severe - moderate, 6)), moderate, severe)

    @property
    def severity(self) -> Severity:
        """The most probable class; the milder one where two are equal."""
        return max(Severity, key=lambda s: (self.of(s), -s.rank))

    def of(self, severity: Severity) -> float:
        """The probability of one class."""
        return float(getattr(self, severity.value))


@dataclass(frozen=True)
class Graded:
    """A target with its grade, the point that shows it and the image it was graded on.

    `probabilities` and `confidence` are rounded to 1e-6. `confidence` is the probability
    of the reported severity times the confidence in the level; `graded_on` may differ from
    the point's image: the canal's point lies on sagittal T2 while the axial slice was graded.
    """

    target: Target
    probabilities: Probabilities
    confidence: float
    point: ImagePoint
    graded_on: ImageReference

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"confidence of {self.target} must lie in 0..1: {self.confidence}")
        object.__setattr__(self, "confidence", round(self.confidence, 6))
        object.__setattr__(self, "probabilities", self.probabilities.rounded())

    @property
    def severity(self) -> Severity:
        """The reported grade."""
        return self.probabilities.severity

    def agrees_with(self, other: Graded, within: float, within_px: float) -> bool:
        """Whether both give the same finding for the same target; see `Report.agrees_with`."""
        mine, others = self.probabilities, other.probabilities
        return (
            (self.target, self.graded_on, self.point.image)
            == (other.target, other.graded_on, other.point.image)
            and all(abs(mine.of(s) - others.of(s)) <= within for s in Severity)
            and abs(self.confidence - other.confidence) <= within
            and abs(self.point.column - other.point.column) <= within_px
            and abs(self.point.row - other.point.row) <= within_px
        )


@dataclass(frozen=True)
class NotAssessed:
    """A target without a grade, and why."""

    target: Target
    reason: NotAssessedReason


Finding = Graded | NotAssessed


@dataclass(frozen=True)
class BundleIdentity:
    """Which models graded: name, version, hash of their weights, and their Device UID."""

    name: str
    version: str
    sha256: str
    device_uid: str


@dataclass(frozen=True)
class Report:
    """The findings of one study: one for each target of `target_set`, in the order of the set.

    Raises ValueError when the set is unknown, or a target of it is missing, repeated or foreign.
    """

    study_instance_uid: str
    bundle: BundleIdentity
    findings: tuple[Finding, ...]
    target_set: str = CURRENT_TARGET_SET

    def __post_init__(self) -> None:
        targets = targets_of(self.target_set)
        by_target = {finding.target: finding for finding in self.findings}
        if len(by_target) != len(self.findings) or set(by_target) != set(targets):
            raise ValueError(
                f"a report holds each of the {len(targets)} targets of {self.target_set} "
                "exactly once"
            )
        object.__setattr__(self, "findings", tuple(by_target[t] for t in targets))

    def __getitem__(self, target: Target) -> Finding:
        """The finding of one target of the report's set."""
        return self.findings[targets_of(self.target_set).index(target)]

    @property
    def graded(self) -> tuple[Graded, ...]:
        """The graded findings, in the order of the set."""
        return tuple(f for f in self.findings if isinstance(f, Graded))

    @property
    def not_assessed(self) -> tuple[NotAssessed, ...]:
        """The findings without a grade, in the order of the set."""
        return tuple(f for f in self.findings if isinstance(f, NotAssessed))

    def agrees_with(self, other: Report, *, within: float = 1e-3, within_px: float = 1.0) -> bool:
        """Whether both give the same findings, up to differences in floating-point arithmetic.

        Equal are the study, the target set, the models, the images of each graded target and
        the reason of each other target; probabilities and confidences differ by at most
        `within`, points by at most `within_px` pixels.
        """
        return (
            self.study_instance_uid == other.study_instance_uid
            and self.target_set == other.target_set
            and self.bundle == other.bundle
            and all(
                mine == others
                or (
                    isinstance(mine, Graded)
                    and isinstance(others, Graded)
                    and mine.agrees_with(others, within, within_px)
                )
                for mine, others in zip(self.findings, other.findings, strict=True)
            )
        )
