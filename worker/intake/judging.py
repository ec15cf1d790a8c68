"""One series on its own: its role by a site's rule, else by plane and weighting.

Every rule is asked, so that the evidence is whole; the first that speaks decides. Pixels are
looked at where no rule speaks and nothing tells the weighting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from worker.domain.geometry import Orientation
from worker.domain.study import Evidence, Role, Series
from worker.intake import rules, vocabulary
from worker.intake.recognition import Recogniser
from worker.intake.site import SiteRule, first_match
from worker.intake.weighting import Decision, Weighting, weigh, weigh_pixels

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
"""The flag of a series whose role rests on what one slice looks like."""

_PLANES: Final = {role: plane for (plane, _), role in ROLES.items()}
_PLANE_WORDS: Final = {
    Orientation.SAGITTAL: vocabulary.SAGITTAL,
    Orientation.AXIAL: vocabulary.AXIAL,
    Orientation.CORONAL: vocabulary.CORONAL,
}


@dataclass(frozen=True)
class Verdict:
    """What is decided about one series so far."""

    series: Series
    role: Role | None
    reason: str
    flags: tuple[str, ...] = ()
    weighting: Weighting | None = None
    rule: rules.Exclusion | None = None
    elsewhere: Role | None = None
    evidence: tuple[Evidence, ...] = ()
    by_site: bool = False


def judge(series: Series, site: Sequence[SiteRule], recognise: Recogniser | None = None) -> Verdict:
    """Role by a site's rule, else by plane and weighting, for one series on its own."""
    weighed = weigh(series.acquisition)
    physics = rules.asked(rules.PHYSICS, series)
    texts = rules.asked(rules.TEXTS, series)
    evidence = (
        *_geometry(series),
        *_against(physics),
        *weighed.physics,
        *_against(texts),
        *weighed.texts,
    )
    flags: tuple[str, ...] = ()
    matching = first_match(site, series)
    if matching is not None:
        said = Evidence(matching.title, matching.role or "no role", matching.because)
        evidence = (said, *evidence)
        flags = _refused(matching, series)
        if not flags:
            verdict = _by_site(matching, series, weighed, evidence)
            return replace(verdict, rule=_no_mr(physics))
    verdict = _by_headers(series, weighed, (*physics, *texts))
    # A weighting that the headers tell in two ways is not for pixels to settle.
    unsaid = verdict.rule is None and weighed.weighting is None and not weighed.flags
    if recognise is not None and unsaid:
        verdict = _by_pixels(verdict, recognise)
    return replace(verdict, flags=flags + verdict.flags, evidence=(*evidence, *verdict.evidence))


def _by_headers(series: Series, weighed: Decision, against: Sequence[rules.Excluded]) -> Verdict:
    """The role that our own rules give, or the first reason against any."""
    if against:
        rule, reason = against[0]
        return Verdict(series, None, reason, rule=rule)
    plane = series.slices[0].plane.orientation
    doubts = filter(None, (rules.gradient_conflict(series), rules.processed(series)))
    flags = (*weighed.flags, *_plane_conflict(series, plane), *doubts)
    if weighed.weighting is None:
        return Verdict(series, None, f"{plane}, but {weighed.reason}", flags)
    return _of_weighting(series, weighed.weighting, weighed.reason, flags)


def _by_pixels(undecided: Verdict, recognise: Recogniser) -> Verdict:
    """The role of a series whose headers left only the weighting open; as it was where unseen."""
    series = undecided.series
    seen = recognise(series)
    says = "nothing" if seen.weighting is None else seen.weighting.value
    evidence = (Evidence("pixels", says, seen.because),)
    if seen.weighting is None:
        return replace(undecided, evidence=evidence)
    weighed = weigh_pixels(seen.weighting, series.acquisition)
    flags = (*undecided.flags, *weighed.flags)
    if weighed.weighting is None:
        return replace(undecided, flags=flags, evidence=evidence)
    flags = (*flags, FROM_PIXELS)
    verdict = _of_weighting(series, weighed.weighting, weighed.reason, flags)
    return replace(verdict, evidence=evidence)


def _of_weighting(
    series: Series, weighting: Weighting, because: str, flags: tuple[str, ...]
) -> Verdict:
    """The role of a known weighting in the series' plane, if there is one."""
    plane = series.slices[0].plane.orientation
    role = ROLES.get((plane, weighting))
    if role is None:
        return Verdict(series, None, f"{plane} {because} is not used", flags, weighting)
    return Verdict(series, role, f"{plane} by orientation, {because}", flags, weighting)


def _refused(rule: SiteRule, series: Series) -> tuple[str, ...]:
    """Why a site's rule cannot be obeyed: no rule turns a stack or makes images of a report."""
    if rule.role is None:
        return ()
    for _, reason in rules.asked(rules.UNUSABLE, series):
        return (f"{rule.title} gives the role {rule.role}, not obeyed: {reason}",)
    plane = series.slices[0].plane.orientation
    if plane is not _PLANES[rule.role]:
        return (f"{rule.title} gives the role {rule.role}, not obeyed: {plane} by orientation",)
    return ()


def _by_site(
    rule: SiteRule, series: Series, weighed: Decision, evidence: tuple[Evidence, ...]
) -> Verdict:
    """The role that a site's rule gives; what our rules would have said is flagged."""
    reason = f"by {rule.title}" + (f": {rule.reason}" if rule.reason else "")
    flags: tuple[str, ...] = ()
    if rule.role is not None and weighed.weighting is not None:
        ours = ROLES.get((_PLANES[rule.role], weighed.weighting))
        if ours is not rule.role:
            flags = (f"{rule.title} gives the role {rule.role}, but {weighed.reason}",)
    return Verdict(
        series, rule.role, reason, flags, weighed.weighting, evidence=evidence, by_site=True
    )


def _no_mr(physics: Sequence[rules.Excluded]) -> rules.Exclusion | None:
    """The rule that tells what is no MR at all, whoever decides on its role."""
    found = (rule for rule, _ in physics if rule in (rules.structured_report, rules.not_mr))
    return next(found, None)


def _geometry(series: Series) -> tuple[Evidence, ...]:
    """What the orientation says of the first slice's plane."""
    if not series.slices:
        return ()
    plane = series.slices[0].plane
    normal = ", ".join(f"{value:.2f}" for value in plane.normal)
    return (Evidence("orientation", plane.orientation, f"the slices' normal is ({normal})"),)


def _against(excluded: Sequence[rules.Excluded]) -> tuple[Evidence, ...]:
    return tuple(Evidence(rule.__name__, "no role", reason) for rule, reason in excluded)


def _plane_conflict(series: Series, plane: Orientation) -> tuple[str, ...]:
    said = set(vocabulary.tokens(series.acquisition.series_description))
    if said & _PLANE_WORDS[plane]:
        return ()
    for other, names in _PLANE_WORDS.items():
        if said & names:
            return (f"described as {other} but {plane} by orientation",)
    return ()
