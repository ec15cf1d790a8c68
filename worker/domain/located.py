"""What stage 1 hands to stage 2: where the structures of each target lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from dicom_sr.findings import (
    TARGETS,
    Condition,
    ImagePoint,
    ImageReference,
    Level,
    NotAssessedReason,
    Side,
    Target,
)
from worker.domain.points import LevelPoint


@dataclass(frozen=True, eq=False)
class AxialLevel:
    """One level on its axial slice: where to grade, and where to point.

    `canal` lies midway between the lateral recesses; `span_mm` is the distance between them.
    """

    canal: LevelPoint
    recesses: Mapping[Side, LevelPoint]
    span_mm: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "recesses", MappingProxyType(dict(self.recesses)))


@dataclass(frozen=True)
class Site:
    """Where one target lies: the point to show, the image to grade, and the confidence (0..1)."""

    point: ImagePoint
    image: ImageReference
    confidence: float


@dataclass(frozen=True, eq=False)
class Located:
    """The structures that stage 1 found, and why it did not find the others.

    `canal` holds the middle of the canal at each disc on sagittal T2, `foramina` the neural
    foramina on sagittal T1, `axial` the axial slice of each level. `reasons` says for a target
    without a site why it has none.
    """

    canal: Mapping[Level, LevelPoint] = field(default_factory=dict)
    foramina: Mapping[tuple[Level, Side], LevelPoint] = field(default_factory=dict)
    axial: Mapping[Level, AxialLevel] = field(default_factory=dict)
    reasons: Mapping[Target, NotAssessedReason] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("canal", "foramina", "axial", "reasons"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets that have a site, in the order of `TARGETS`."""
        return tuple(target for target in TARGETS if self.site(target) is not None)

    def site(self, target: Target) -> Site | None:
        """Where a target lies; None where it was not found or must not be graded.

        The canal is graded on the axial slice and shown on sagittal T2. The
        confidence on an axial slice is that of the canal there times that of the level's name.
        """
        if target in self.reasons:
            return None
        level, side = target.level, target.side
        if target.condition is Condition.NEURAL_FORAMINAL_NARROWING:
            assert side is not None
            foramen = self.foramina.get((level, side))
            return None if foramen is None else _site(foramen, foramen, foramen.confidence)
        axial = self.axial.get(level)
        if axial is None:
            return None
        shown = self.canal.get(level) if side is None else axial.recesses.get(side)
        if shown is None:
            return None
        confidence = axial.canal.confidence * self._level_confidence(level)
        return _site(shown, axial.canal, confidence)

    def _level_confidence(self, level: Level) -> float:
        """The confidence of the level's name: that of the canal on T2, else of a foramen."""
        if level in self.canal:
            return self.canal[level].confidence
        sides = (self.foramina.get((level, side)) for side in Side)
        return min((point.confidence for point in sides if point is not None), default=0.0)


def _site(shown: LevelPoint, graded: LevelPoint, confidence: float) -> Site:
    return Site(shown.image_point, graded.image_point.image, min(1.0, confidence))
