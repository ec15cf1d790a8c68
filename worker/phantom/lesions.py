"""Severities, random or given, and their effect on the shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dicom_sr.findings import TARGETS, Condition, Level, Severity, Side, Target
from worker.errors import BadSettings
from worker.phantom.randomness import stream

Prevalence = Mapping[Condition, tuple[float, float]]
"""The shares of moderate and severe for each condition, averaged over the levels."""

CLINICAL: Final[Prevalence] = {
    Condition.SPINAL_CANAL_STENOSIS: (0.075, 0.048),
    Condition.NEURAL_FORAMINAL_NARROWING: (0.181, 0.040),
    Condition.SUBARTICULAR_STENOSIS: (0.190, 0.096),
}
"""As in the training set of the RSNA 2024 challenge."""

TRAINING: Final[Prevalence] = dict.fromkeys(Condition, (0.28, 0.28))
"""Rich in lesions, so that few studies contain every class."""

# Lesions become more frequent downwards and are rarest at L1/L2, as in the challenge.
_LEVEL_FACTOR: Final = dict(zip(Level, (0.4, 0.8, 1.15, 1.6, 1.05), strict=True))
_WORST: Final = 0.9


def draw_severities(seed: int, prevalence: Prevalence = CLINICAL) -> dict[Target, Severity]:
    """One severity for each target of the current set; sides of one level correlate weakly.

    With a severe canal stenosis both subarticular zones are at least moderate, as readers
    grade them.
    """
    rng = stream(seed, "severities")
    shared = {(c, level): rng.random() for c in Condition for level in Level}
    severities = {}
    for target in TARGETS:
        draw = shared[target.condition, target.level] if rng.random() < 0.35 else rng.random()
        moderate, severe = prevalence[target.condition]
        factor = _LEVEL_FACTOR[target.level]
        factor = min(factor, _WORST / max(moderate + severe, 1e-6))
        if draw < severe * factor:
            severities[target] = Severity.SEVERE
        elif draw < (moderate + severe) * factor:
            severities[target] = Severity.MODERATE
        else:
            severities[target] = Severity.NORMAL_MILD
    for level in Level:
        canal = severities[Target(Condition.SPINAL_CANAL_STENOSIS, level)]
        for side in Side:
            zone = Target(Condition.SUBARTICULAR_STENOSIS, level, side)
            if canal is Severity.SEVERE and severities[zone] is Severity.NORMAL_MILD:
                severities[zone] = Severity.SEVERE if rng.random() < 0.5 else Severity.MODERATE
    return severities


def complete(lesions: Mapping[Target, Severity]) -> dict[Target, Severity]:
    """The severity of every target: as given, else normal."""
    return {target: lesions.get(target, Severity.NORMAL_MILD) for target in TARGETS}


def parse_lesion(text: str) -> tuple[Target, Severity]:
    """Parse `L4/L5 left subarticular stenosis=severe`; raises BadSettings with the syntax."""
    name, equals, grade = text.partition("=")
    try:
        target = Target.parse(" ".join(name.split()))
    except ValueError as error:
        raise BadSettings(
            f"invalid lesion {text!r}: write LEVEL [left|right] CONDITION=SEVERITY, "
            f'for example "{TARGETS[3]}=moderate" or "{TARGETS[-2]}=severe"; '
            "levels are L1/L2 to L5/S1, and the spinal canal has no side"
        ) from error
    wanted = grade.strip().lower()
    for severity in Severity:
        if equals and wanted in (severity.value, severity.label.lower(), *_SHORT[severity]):
            return target, severity
    raise BadSettings(
        f"invalid severity in lesion {text!r}: write {target}=moderate or {target}=severe"
    ) from None


_SHORT: Final = {
    Severity.NORMAL_MILD: ("normal", "mild"),
    Severity.MODERATE: (),
    Severity.SEVERE: (),
}


@dataclass(frozen=True)
class CanalShape:
    """The dural sac at a disc: factors of its size, crowding of the roots 0..1, filler 0..1."""

    depth_factor: float
    width_factor: float
    crowding: float
    filler: float


@dataclass(frozen=True)
class RecessShape:
    """The border of the tissue in a lateral recess.

    `cut` runs from 0 (at the free border of a wide recess) to 1 (the middle of the sac).
    """

    cut: float


@dataclass(frozen=True)
class ForamenShape:
    """The filled share of a foramen 0..1, and the factors of the two radii of the nerve."""

    fill: float
    nerve_height: float
    nerve_depth: float


def canal_shape(seed: int, target: Target, severity: Severity) -> CanalShape:
    """The sac at one disc; mild narrowing counts as normal."""
    rng = stream(seed, "shape", str(target))
    t = rng.random()
    if severity is Severity.SEVERE:
        return CanalShape(0.2 + 0.16 * t, 0.6 + 0.15 * rng.random(), 0.88 + 0.1 * t, 1.0)
    if severity is Severity.MODERATE:
        return CanalShape(0.5 + 0.13 * t, 0.76 + 0.1 * rng.random(), 0.62 - 0.2 * t, 1.0)
    mild = t**2.5
    return CanalShape(1 - 0.2 * mild, 1 - 0.08 * mild, 0.12 * mild, 0.7 * mild)


def recess_shape(seed: int, target: Target, severity: Severity) -> RecessShape:
    """The lateral recess at one disc and side."""
    t = float(stream(seed, "shape", str(target)).random())
    if severity is Severity.SEVERE:
        return RecessShape(0.62 + 0.16 * t)
    if severity is Severity.MODERATE:
        return RecessShape(0.33 + 0.12 * t)
    return RecessShape(0.12 * t**2)


def foramen_shape(seed: int, target: Target, severity: Severity) -> ForamenShape:
    """The neural foramen at one level and side."""
    rng = stream(seed, "shape", str(target))
    t = rng.random()
    if severity is Severity.SEVERE:
        return ForamenShape(0.92 + 0.08 * t, 0.4 + 0.2 * rng.random(), 0.75 + 0.2 * t)
    if severity is Severity.MODERATE:
        return ForamenShape(0.45 + 0.13 * t, 0.78 + 0.15 * rng.random(), 0.85 + 0.1 * t)
    return ForamenShape(0.2 * t**2, 1.0, 1.0)


def other_side(target: Target) -> Target:
    """The same target on the other side; the canal itself."""
    if target.side is None:
        return target
    side = Side.RIGHT if target.side is Side.LEFT else Side.LEFT
    return Target(target.condition, target.level, side)
