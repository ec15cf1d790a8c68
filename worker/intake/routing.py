"""Which series takes which role, with a reason for every series.

A site's rule first; plane from the orientation, always; weighting from physics, then words,
then pixels; then the series that do not share the patient's space fall out.
`routed | rejected == all`, and every rule that spoke is kept as evidence.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dicom_sr.uids import shown
from worker.domain.geometry import Orientation
from worker.domain.study import (
    Evidence,
    Repair,
    RepairKind,
    Role,
    RoutedStudy,
    Routing,
    Series,
    Study,
)
from worker.errors import NotLumbar, NoUsableSeries
from worker.intake import rules, vocabulary
from worker.intake.judging import FROM_PIXELS, Verdict, judge
from worker.intake.recognition import Recogniser
from worker.intake.site import SiteRule
from worker.intake.space import overlap, same_frame_of_reference, same_space
from worker.intake.weighting import Weighting

_PREFERENCE: Final = (Weighting.T2, Weighting.FAT_SUPPRESSED_T2, Weighting.STIR)


def route(
    study: Study, site: Sequence[SiteRule] = (), recognise: Recogniser | None = None
) -> RoutedStudy:
    """Give each series its role or the reason why it has none, and rank those that share one.

    The rules of a `site` are asked before ours; the first that matches a series decides.
    `recognise` is asked last, about series whose headers leave only the weighting open. A
    frame of reference that differs from the sagittal series' is recorded as a repair.
    A study whose MR calls itself lumbar is routed even where no series gets a role: it is owed
    a report that says so. Raises NotLumbar when there is no MR or every series shows another
    region, NoUsableSeries when no series gets a role and none says that it is lumbar.
    """
    verdicts = _without_other_regions([judge(series, site, recognise) for series in study.series])
    reference = _reference(verdicts)
    repairs: list[Repair] = []
    if reference is not None:
        verdicts = [_place(verdict, reference) for verdict in verdicts]
        repairs = [
            Repair(
                RepairKind.FRAME_OF_REFERENCE,
                v.series.series_instance_uid,
                len(v.series.slices),
                "taken to share the patient space of "
                f"{shown(reference.series_instance_uid)}: same position, overlapping stacks",
            )
            for v in verdicts
            if v.role is not None and not _is_or_names_frame_of(v.series, reference)
        ]
    if not any(verdict.role for verdict in verdicts) and not _calls_itself_lumbar(verdicts):
        _refuse(verdicts)
    roles = _ranked(verdicts)
    return RoutedStudy(
        study=replace(study, repairs=study.repairs + tuple(repairs)),
        roles=roles,
        decisions=tuple(_decision(verdict, roles) for verdict in verdicts),
    )


def _without_other_regions(verdicts: list[Verdict]) -> list[Verdict]:
    """Without a sagittal series to confirm it, an axial one labelled as another region falls."""
    if any(v.role in (Role.SAGITTAL_T1, Role.SAGITTAL_T2) for v in verdicts):
        return verdicts
    reason = "labelled as another region, and no sagittal series shows a lumbar spine"
    return [
        replace(
            v,
            role=None,
            reason=reason,
            rule=rules.other_region,
            evidence=(*v.evidence, Evidence("labelled_elsewhere", "no role", reason)),
        )
        if v.role is not None and not v.by_site and rules.labelled_elsewhere(v.series)
        else v
        for v in verdicts
    ]


def _reference(verdicts: Sequence[Verdict]) -> Series | None:
    """The series whose space the study is read in.

    The sagittal T2 (else T1, else an axial) that shares its space with most others: one
    station of a whole spine, or one series after the patient moved, is the odd one out. One
    known by its pixels alone is none, where headers tell another.
    """
    routed = [v for v in verdicts if v.role is not None]
    axials = _axials_mm(routed)
    for role in (Role.SAGITTAL_T2, Role.SAGITTAL_T1, Role.AXIAL_T2):
        candidates = [v for v in routed if v.role is role]
        if candidates:
            return max(
                candidates,
                key=lambda c: (
                    FROM_PIXELS not in c.flags,
                    sum(same_space(c.series, v.series) for v in routed),
                    sum(overlap(c.series, v.series) for v in routed),
                    *_rank(c, axials),
                ),
            ).series
    return None


def _is_or_names_frame_of(series: Series, reference: Series) -> bool:
    return series is reference or same_frame_of_reference(series, reference)


def _place(verdict: Verdict, reference: Series) -> Verdict:
    """Reject a routed series that the reference cannot be projected into; flag a doubt."""
    series = verdict.series
    if verdict.role is None or series is reference:
        return verdict
    if not same_space(series, reference):
        moved = series.patient_position != reference.patient_position
        why = "the patient position differs" if moved else "the stacks do not overlap"
        other = shown(reference.series_instance_uid)
        apart = f"does not share the patient space of {other}: {why}"
        return replace(
            verdict,
            role=None,
            reason=f"{verdict.reason}; {apart}",
            elsewhere=verdict.role,
            evidence=(*verdict.evidence, Evidence("patient_space", "no role", apart)),
        )
    if not same_frame_of_reference(series, reference):
        flag = "another frame of reference, but the same patient position and overlapping stacks"
        return replace(verdict, flags=(*verdict.flags, flag))
    return verdict


def _ranked(verdicts: Sequence[Verdict]) -> dict[Role, tuple[Series, ...]]:
    routed = [v for v in verdicts if v.role is not None]
    axials = _axials_mm(routed)
    by_role: defaultdict[Role, list[Verdict]] = defaultdict(list)
    for verdict in routed:
        if verdict.role is not None:
            by_role[verdict.role].append(verdict)
    return {
        role: tuple(
            v.series for v in sorted(by_role[role], key=lambda v: _rank(v, axials), reverse=True)
        )
        for role in Role
        if by_role[role]
    }


def _axials_mm(routed: Sequence[Verdict]) -> NDArray[np.float64]:
    """The heights in the patient of the centres of all axial slices, shape (slices,)."""
    planes = [h.plane for v in routed if v.role is Role.AXIAL_T2 for h in v.series.slices]
    return np.array([plane.to_mm(plane.columns / 2, plane.rows / 2)[2] for plane in planes])


def _rank(verdict: Verdict, axials_mm: NDArray[np.float64]) -> tuple[float | str, ...]:
    """Larger is better: told before seen, T2 before STIR, coverage, resolution, recency, the UID.

    An axial stack is planned on the levels that matter: a sagittal series covers the heights
    of its slices, or not.
    """
    series = verdict.series
    preference = _PREFERENCE.index(verdict.weighting) if verdict.weighting in _PREFERENCE else 0
    low, high = series.extent_mm
    across, _, height = high - low
    sagittal = series.slices[0].plane.orientation is Orientation.SAGITTAL
    covered = len(series.slices)
    if sagittal:
        covered = int(((low[2] <= axials_mm) & (axials_mm <= high[2])).sum())
    extent = across if sagittal else height
    plane = series.slices[0].plane
    resolution = -plane.row_spacing_mm * plane.column_spacing_mm
    return (
        FROM_PIXELS not in verdict.flags,
        -preference,
        covered,
        # In steps of a centimetre: a slice more or less is no better coverage.
        round(extent / 10),
        round(resolution, 3),
        series.acquisition.acquired,
        series.series_instance_uid,
    )


def _decision(verdict: Verdict, roles: dict[Role, tuple[Series, ...]]) -> Routing:
    reason = verdict.reason
    if verdict.role in (Role.SAGITTAL_T1, Role.SAGITTAL_T2):
        place = roles[verdict.role].index(verdict.series)
        if place:
            reason += f"; in reserve, number {place + 1} of its role"
    return Routing(
        series_instance_uid=verdict.series.series_instance_uid,
        series_description=verdict.series.acquisition.series_description,
        role=verdict.role,
        reason=reason,
        flags=verdict.flags,
        elsewhere=verdict.elsewhere,
        evidence=verdict.evidence,
    )


def _calls_itself_lumbar(verdicts: Sequence[Verdict]) -> bool:
    return any(
        v.rule not in (rules.structured_report, rules.not_mr) and rules.labelled_lumbar(v.series)
        for v in verdicts
    )


def _refuse(verdicts: Sequence[Verdict]) -> None:
    """Say why a study without any role is refused."""
    if all(v.rule in (rules.structured_report, rules.not_mr) for v in verdicts):
        kinds = Counter(vocabulary.modality(v.series.acquisition.modality) for v in verdicts)
        held = ", ".join(f"{kind} ({count} series)" for kind, count in sorted(kinds.items()))
        raise NotLumbar(f"the study holds no MR images but {held}; send a lumbar MRI")
    reasons = "; ".join(sorted({v.reason for v in verdicts})[:6])
    if any(v.rule is rules.other_region for v in verdicts):
        raise NotLumbar(f"no series shows the lumbar spine: {reasons}")
    raise NoUsableSeries(f"none of the {len(verdicts)} series can be used: {reasons}")
