"""Classifies one series on its own: by a site rule, else by plane and weighting.

Every rule is evaluated, so that the evidence is complete; the first that matches decides.
Pixels are read only where no rule matches and the headers do not determine the weighting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from worker.domain.geometry import Orientation
from worker.domain.study import Evidence, Role, Series
from worker.intake import image_types, rules, vocabulary
from worker.intake.recognition import Recogniser
from worker.intake.site import Objection, SiteRule, first_match, lifting
from worker.intake.tokens import tokens
from worker.intake.weighting import (
    Weighting,
    WeightingDecision,
    decide_weighting,
    weighting_from_pixels,
)

ROLES: Final = {
    (Orientation.SAGITTAL, Weighting.T1): Role.SAGITTAL_T1,
    (Orientation.SAGITTAL, Weighting.T2): Role.SAGITTAL_T2,
    (Orientation.SAGITTAL, Weighting.FAT_SUPPRESSED_T2): Role.SAGITTAL_T2,
    (Orientation.SAGITTAL, Weighting.STIR): Role.SAGITTAL_T2,
    (Orientation.AXIAL, Weighting.T2): Role.AXIAL_T2,
    (Orientation.AXIAL, Weighting.FAT_SUPPRESSED_T2): Role.AXIAL_T2,
}
"""The role of a plane and a weighting; every other pair has none."""

FROM_PIXELS: Final = "weighting recognised from pixels alone"
"""The flag of a series whose role depends on the pixels of one slice."""

_PLANES: Final = {role: plane for (plane, _), role in ROLES.items()}
_PLANE_NAMES: Final = {
    Orientation.SAGITTAL: vocabulary.SAGITTAL,
    Orientation.AXIAL: vocabulary.AXIAL,
    Orientation.CORONAL: vocabulary.CORONAL,
}


@dataclass(frozen=True)
class Classification:
    """The role of one series, or none, with the reason.

    `rule` is the exclusion rule that decided, `elsewhere` the role of a series in another
    patient space, `unusable` that of one whose slices cannot be used; `by_site` is true where a
    site rule decided.
    """

    series: Series
    role: Role | None
    reason: str
    flags: tuple[str, ...] = ()
    weighting: Weighting | None = None
    rule: rules.ExclusionRule | None = None
    elsewhere: Role | None = None
    unusable: Role | None = None
    evidence: tuple[Evidence, ...] = ()
    by_site: bool = False


def classify(
    series: Series, site: Sequence[SiteRule], recognise: Recogniser | None = None
) -> Classification:
    """Classify one series by the first matching site rule, else by plane and weighting."""
    decided = decide_weighting(series.acquisition)
    physics = rules.matching(rules.PHYSICS, series)
    lifted, lifted_flags = _lifted(site, series)
    texts = rules.matching(rules.TEXTS, series)
    evidence = (
        *_geometry(series),
        *_exclusion_evidence(physics),
        *decided.physics,
        *_exclusion_evidence(texts),
        *decided.texts,
    )
    flags: tuple[str, ...] = ()
    site_rule = first_match(site, series)
    if site_rule is not None:
        site_evidence = Evidence(site_rule.title, site_rule.role or "no role", site_rule.because)
        evidence = (site_evidence, *evidence)
        flags = _not_applicable(site_rule, series, decided, lifted)
        if not flags:
            result = _by_site(site_rule, series, decided, evidence)
            flags = (*lifted_flags, *result.flags)
            return replace(result, rule=_not_mr_rule(physics), flags=flags)
    matches = tuple(match for match in (*physics, *texts) if match[0] not in lifted)
    result = _by_headers(series, decided, matches)
    # Pixels do not resolve a contradiction between headers.
    undecided = result.rule is None and decided.weighting is None and not decided.flags
    if recognise is not None and undecided:
        result = _by_pixels(result, recognise)
    flags = (*lifted_flags, *flags, *result.flags)
    return replace(result, flags=flags, evidence=(*evidence, *result.evidence))


def _lifted(
    site: Sequence[SiteRule], series: Series
) -> tuple[frozenset[rules.ExclusionRule], tuple[str, ...]]:
    """The built-in rules that the site does not apply to a series, and a flag that says so."""
    rule = lifting(site, series, Objection.FEW_SLICES)
    reason = rules.few_slices(series)
    if rule is None or reason is None:
        return frozenset(), ()
    return frozenset({rules.few_slices}), (f"{rule.title} grades it despite {reason}",)


def _by_headers(
    series: Series, decided: WeightingDecision, exclusions: Sequence[rules.Match]
) -> Classification:
    """The role by the built-in rules, or the first reason for none."""
    if exclusions:
        rule, reason = exclusions[0]
        role = _role_of_unusable(series, decided) if rule in rules.UNUSABLE_STACKS else None
        return Classification(series, None, reason, rule=rule, unusable=role)
    plane = series.slices[0].plane.orientation
    warnings = filter(
        None,
        (rules.gradient_conflict(series), image_types.processed(series.acquisition.image_type)),
    )
    flags = (*decided.flags, *_plane_conflict(series, plane), *warnings)
    if decided.weighting is None:
        return Classification(series, None, f"{plane}, but {decided.reason}", flags)
    return _of_weighting(series, decided.weighting, decided.reason, flags)


def _role_of_unusable(series: Series, decided: WeightingDecision) -> Role | None:
    if decided.weighting is None:
        return None
    return ROLES.get((series.slices[0].plane.orientation, decided.weighting))


def _by_pixels(undecided: Classification, recognise: Recogniser) -> Classification:
    """The role by recognised weighting; `undecided` where the pixels do not show one."""
    series = undecided.series
    recognised = recognise(series)
    says = "nothing" if recognised.weighting is None else recognised.weighting.value
    evidence = (Evidence("pixels", says, recognised.because),)
    if recognised.weighting is None:
        return replace(undecided, evidence=evidence)
    decided = weighting_from_pixels(recognised.weighting, series.acquisition)
    flags = (*undecided.flags, *decided.flags)
    if decided.weighting is None:
        return replace(undecided, flags=flags, evidence=evidence)
    flags = (*flags, FROM_PIXELS)
    result = _of_weighting(series, decided.weighting, decided.reason, flags)
    return replace(result, evidence=evidence)


def _of_weighting(
    series: Series, weighting: Weighting, because: str, flags: tuple[str, ...]
) -> Classification:
    """The role for the plane of the series and a known weighting, or none."""
    plane = series.slices[0].plane.orientation
    role = ROLES.get((plane, weighting))
    if role is None:
        return Classification(series, None, f"{plane} {because} is not used", flags, weighting)
    return Classification(series, role, f"{plane} by orientation, {because}", flags, weighting)


def _not_applicable(
    rule: SiteRule,
    series: Series,
    decided: WeightingDecision,
    lifted: frozenset[rules.ExclusionRule],
) -> tuple[str, ...]:
    """Why a site rule cannot be applied: the series is unusable, or a grade would be unsafe.

    It lies in another plane, or shows T1 after contrast.
    """
    if rule.role is None:
        return ()
    for match, reason in rules.matching(rules.UNUSABLE, series):
        if match in lifted:
            continue
        return (f"{rule.title} gives the role {rule.role}, ignored: {reason}",)
    plane = series.slices[0].plane.orientation
    if plane is not _PLANES[rule.role]:
        return (f"{rule.title} gives the role {rule.role}, ignored: {plane} by orientation",)
    if decided.weighting is Weighting.CONTRAST_T1:
        return (f"{rule.title} gives the role {rule.role}, ignored: {decided.reason}",)
    return ()


def _by_site(
    rule: SiteRule, series: Series, decided: WeightingDecision, evidence: tuple[Evidence, ...]
) -> Classification:
    """The role that a site rule assigns, flagged where the built-in rules contradict it."""
    reason = f"by {rule.title}" + (f": {rule.reason}" if rule.reason else "")
    flags: tuple[str, ...] = ()
    if rule.role is not None and decided.weighting is not None:
        built_in = ROLES.get((_PLANES[rule.role], decided.weighting))
        if built_in is not rule.role:
            flags = (f"{rule.title} gives the role {rule.role}, but {decided.reason}",)
    return Classification(
        series, rule.role, reason, flags, decided.weighting, evidence=evidence, by_site=True
    )


def _not_mr_rule(physics: Sequence[rules.Match]) -> rules.ExclusionRule | None:
    """The matching rule that identifies objects other than MR images, if any."""
    matches = (rule for rule, _ in physics if rule in (rules.structured_report, rules.not_mr))
    return next(matches, None)


def _geometry(series: Series) -> tuple[Evidence, ...]:
    """The plane of the first slice as evidence."""
    if not series.slices:
        return ()
    plane = series.slices[0].plane
    normal = ", ".join(f"{value:.2f}" for value in plane.normal)
    return (Evidence("orientation", plane.orientation, f"the slices' normal is ({normal})"),)


def _exclusion_evidence(matches: Sequence[rules.Match]) -> tuple[Evidence, ...]:
    return tuple(Evidence(rule.__name__, "no role", reason) for rule, reason in matches)


def _plane_conflict(series: Series, plane: Orientation) -> tuple[str, ...]:
    described = set(tokens(series.acquisition.series_description))
    if described & _PLANE_NAMES[plane]:
        return ()
    for other, names in _PLANE_NAMES.items():
        if described & names:
            return (f"described as {other} but {plane} by orientation",)
    return ()
