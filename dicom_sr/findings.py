"""The published language: what a lumbar report says, independent of how it is stored.

A `Report` is canonical by construction: its 25 findings stand in the order of
`TARGETS`, pixel coordinates are rounded to 1/64 (exact in the float32 that DICOM
SCOORD stores) and probabilities to 1e-6, so that equality means something after a
round trip through a Structured Report.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


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
    """What is graded."""

    SPINAL_CANAL_STENOSIS = "spinal_canal_stenosis"
    NEURAL_FORAMINAL_NARROWING = "neural_foraminal_narrowing"
    SUBARTICULAR_STENOSIS = "subarticular_stenosis"

    @property
    def sides(self) -> tuple[Side | None, ...]:
        """The sides this condition is graded on; the canal has none."""
        if self is Condition.SPINAL_CANAL_STENOSIS:
            return (None,)
        return (Side.LEFT, Side.RIGHT)

    @property
    def label(self) -> str:
        """The condition as a radiologist writes it, in lower case."""
        return self.value.replace("_", " ")


class Severity(StrEnum):
    """The three grades of the RSNA 2024 challenge; Normal and Mild are one class."""

    NORMAL_MILD = "normal_mild"
    MODERATE = "moderate"
    SEVERE = "severe"

    @property
    def label(self) -> str:
        """The grade as people read it."""
        return {"normal_mild": "Normal/Mild", "moderate": "Moderate", "severe": "Severe"}[self]

    @property
    def rank(self) -> int:
        """0 for Normal/Mild, 1 for Moderate, 2 for Severe."""
        return list(Severity).index(self)


class NotAssessedReason(StrEnum):
    """Why a target has no grade; the value is the stable code, `label` is for people."""

    NO_SAGITTAL_T1 = "no_sagittal_t1"
    NO_SAGITTAL_T2 = "no_sagittal_t2"
    NO_AXIAL_T2 = "no_axial_t2"
    LEVEL_NOT_FOUND = "level_not_found"
    FORAMEN_NOT_FOUND = "foramen_not_found"
    CANAL_NOT_FOUND = "canal_not_found"
    NO_AXIAL_SLICE = "no_axial_slice"
    OUTSIDE_IMAGE = "outside_image"
    NOT_SAME_SPACE = "not_same_space"
    UNCERTAIN = "uncertain"
    UNDER_AGE = "under_age"
    NOT_LUMBAR = "not_lumbar"
    TOO_FEW_LEVELS = "too_few_levels"
    TRANSITIONAL_ANATOMY = "transitional_anatomy"
    METAL_ARTEFACT = "metal_artefact"

    @property
    def label(self) -> str:
        """The reason as people read it."""
        return _REASON_WORDS[self]


_REASON_WORDS: Final = {
    NotAssessedReason.NO_SAGITTAL_T1: "no sagittal T1",
    NotAssessedReason.NO_SAGITTAL_T2: "no sagittal T2",
    NotAssessedReason.NO_AXIAL_T2: "no axial T2",
    NotAssessedReason.LEVEL_NOT_FOUND: "the disc level was not found",
    NotAssessedReason.FORAMEN_NOT_FOUND: "the foramen was not found",
    NotAssessedReason.CANAL_NOT_FOUND: "the canal was not found on the axial slice",
    NotAssessedReason.NO_AXIAL_SLICE: "no axial slice within 5 mm of the disc",
    NotAssessedReason.OUTSIDE_IMAGE: "the target lies outside the image",
    NotAssessedReason.NOT_SAME_SPACE: "the series do not share a patient space",
    NotAssessedReason.UNCERTAIN: "the models are too unsure",
    NotAssessedReason.UNDER_AGE: "the patient is under the minimum age",
    NotAssessedReason.NOT_LUMBAR: "the images do not show a whole lumbar spine",
    NotAssessedReason.TOO_FEW_LEVELS: "too few disc levels were found to number them",
    NotAssessedReason.TRANSITIONAL_ANATOMY: (
        "transitional anatomy suspected: level numbering is in doubt"
    ),
    NotAssessedReason.METAL_ARTEFACT: "metal artefact suspected",
}


@dataclass(frozen=True, order=True)
class Target:
    """One of the 25 things that a report grades."""

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
        """Read back what `str(target)` writes; raise ValueError naming the text otherwise."""
        for target in TARGETS:
            if str(target) == text.strip():
                return target
        raise ValueError(f"unknown target {text!r}; write for example {TARGETS[-2]!s}")


TARGETS: Final[tuple[Target, ...]] = tuple(
    Target(condition, level, side)
    for condition in Condition
    for side in condition.sides
    for level in Level
)


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
    """Calibrated class probabilities; they sum to one and are kept to 1e-6."""

    normal_mild: float
    moderate: float
    severe: float

    def __post_init__(self) -> None:
        values = (self.normal_mild, self.moderate, self.severe)
        if not all(math.isfinite(v) and -1e-6 <= v <= 1 + 1e-6 for v in values):
            raise ValueError(f"probabilities must lie in 0..1, not {values}")
        if abs(sum(values) - 1) > 1e-4:
            raise ValueError(f"probabilities must sum to 1, not {sum(values)}")
        # Rounding two and taking the third as the rest keeps the sum exact; rounding the
        # rest once more makes the rule idempotent, so a report read back is equal.
        severe, moderate = (round(min(max(v, 0.0), 1.0), 6) for v in (values[2], values[1]))
        object.__setattr__(self, "severe", severe)
        object.__setattr__(self, "moderate", moderate)
        object.__setattr__(self, "normal_mild", max(0.0, round(1 - severe - moderate, 6)))

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

    `confidence` is the probability of the reported severity times the confidence in the
    level; `graded_on` may differ from the point's image: the canal's point lies on
    sagittal T2 while the axial slice was graded.
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

    @property
    def severity(self) -> Severity:
        """The reported grade."""
        return self.probabilities.severity

    def agrees_with(self, other: Graded, within: float, within_px: float) -> bool:
        """Whether both say the same of the same target; see `Report.agrees_with`."""
        ours, theirs = self.probabilities, other.probabilities
        return (
            (self.target, self.graded_on, self.point.image)
            == (other.target, other.graded_on, other.point.image)
            and all(abs(ours.of(s) - theirs.of(s)) <= within for s in Severity)
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
    """What is said about one study: 25 findings in the order of `TARGETS`.

    Raises ValueError when a target is missing or named twice.
    """

    study_instance_uid: str
    bundle: BundleIdentity
    findings: tuple[Finding, ...] = field(default=())

    def __post_init__(self) -> None:
        by_target = {finding.target: finding for finding in self.findings}
        if len(by_target) != len(self.findings) or set(by_target) != set(TARGETS):
            raise ValueError("a report holds each of the 25 targets exactly once")
        object.__setattr__(self, "findings", tuple(by_target[t] for t in TARGETS))

    def __getitem__(self, target: Target) -> Finding:
        """The finding of one target."""
        return self.findings[TARGETS.index(target)]

    @property
    def graded(self) -> tuple[Graded, ...]:
        """The findings that carry a grade, in the order of `TARGETS`."""
        return tuple(f for f in self.findings if isinstance(f, Graded))

    @property
    def not_assessed(self) -> tuple[NotAssessed, ...]:
        """The findings that carry none, in the order of `TARGETS`."""
        return tuple(f for f in self.findings if isinstance(f, NotAssessed))

    def agrees_with(self, other: Report, *, within: float = 1e-3, within_px: float = 1.0) -> bool:
        """Whether both say the same, but for what another machine's arithmetic may change.

        The same models, the same targets graded on the same images, the same reasons for the
        others; probabilities and confidences within `within`, points within `within_px`.
        """
        return (
            self.study_instance_uid == other.study_instance_uid
            and self.bundle == other.bundle
            and all(
                ours == theirs
                or (
                    isinstance(ours, Graded)
                    and isinstance(theirs, Graded)
                    and ours.agrees_with(theirs, within, within_px)
                )
                for ours, theirs in zip(self.findings, other.findings, strict=True)
            )
        )
