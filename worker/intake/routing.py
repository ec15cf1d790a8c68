"""Assigns roles to the series of a study, with a reason for every series.

Site rules come first. The plane always comes from the orientation, the weighting from the
physics, else from texts, else from pixels. Series outside of the patient space of the study
are rejected last. `routed | rejected == all`, and every matching rule is kept as evidence.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dicom_sr.uids import printable_uid
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
from worker.intake.classification import FROM_PIXELS, Classification, classify
from worker.intake.recognition import Recogniser
from worker.intake.repeats import without_repeats
from worker.intake.site import SiteRule
from worker.intake.space import overlap, same_frame_of_reference, same_space
from worker.intake.weighting import Weighting

_PREFERENCE: Final = (Weighting.T2, Weighting.FAT_SUPPRESSED_T2, Weighting.STIR)


def route(
    study: Study, site: Sequence[SiteRule] = (), recognise: Recogniser | None = None
) -> RoutedStudy:
    """Assign each series a role, or a reason for none, and rank the series of each role.

    Site rules precede the built-in ones; the first that matches a series decides. `recognise`
    is called last, for series of which the headers leave only the weighting undecided. A
    frame of reference that differs from the sagittal series' is recorded as a repair.
    A study with MR images labelled lumbar is routed even where no series gets a role, so that
    its report can give the reasons. Raises NotLumbar when there is no MR or every series shows
    another region, NoUsableSeries when no series gets a role and none is labelled lumbar.
    """
    classified = _without_other_regions(
        [classify(series, site, recognise) for series in study.series]
    )
    reference = _reference(classified)
    repairs: list[Repair] = []
    classified = without_repeats(classified)
    if reference is not None:
        classified = [_check_space(one, reference) for one in classified]
        repairs = [
            Repair(
                RepairKind.FRAME_OF_REFERENCE,
                v.series.series_instance_uid,
                len(v.series.slices),
                "assumed to share the patient space of "
                f"{printable_uid(reference.series_instance_uid)}: "
                "the stacks overlap",
            )
            for v in classified
            if v.role is not None and not _has_frame_of(v.series, reference)
        ]
    if not any(one.role for one in classified) and not _labelled_lumbar(classified):
        _reject(classified)
    roles = _ranked(classified)
    return RoutedStudy(
        study=replace(study, repairs=study.repairs + tuple(repairs)),
        roles=roles,
        decisions=tuple(_decision(one, roles) for one in classified),
    )


def _without_other_regions(classified: list[Classification]) -> list[Classification]:
    """Reject axial series labelled as another region where no sagittal series has a role."""
    if any(v.role in (Role.SAGITTAL_T1, Role.SAGITTAL_T2) for v in classified):
        return classified
    reason = "labelled as another region, and no sagittal series shows the lumbar spine"
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
        for v in classified
    ]


def _reference(classified: Sequence[Classification]) -> Series | None:
    """The series that defines the patient space of the study.

    The sagittal T2 (else T1, else axial) series that shares its space with most others: one
    station of a whole spine, or one series after the patient moved, is the exception. A
    series classified by its headers precedes one classified by pixels.
    """
    routed = [v for v in classified if v.role is not None]
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


def _has_frame_of(series: Series, reference: Series) -> bool:
    return series is reference or same_frame_of_reference(series, reference)


def _check_space(classification: Classification, reference: Series) -> Classification:
    """Reject a routed series in another patient space than `reference`; flag a doubtful one."""
    series = classification.series
    if classification.role is None or series is reference:
        return classification
    if not same_space(series, reference):
        moved = series.patient_position != reference.patient_position
        why = "the patient position differs" if moved else "the stacks do not overlap"
        other = printable_uid(reference.series_instance_uid)
        apart = f"does not share the patient space of {other}: {why}"
        return replace(
            classification,
            role=None,
            reason=f"{classification.reason}; {apart}",
            elsewhere=classification.role,
            evidence=(*classification.evidence, Evidence("patient_space", "no role", apart)),
        )
    if not same_frame_of_reference(series, reference):
        flag = "another frame of reference, but the stacks overlap"
        return replace(classification, flags=(*classification.flags, flag))
    return classification


def _ranked(classified: Sequence[Classification]) -> dict[Role, tuple[Series, ...]]:
    routed = [v for v in classified if v.role is not None]
    axials = _axials_mm(routed)
    by_role: defaultdict[Role, list[Classification]] = defaultdict(list)
    for classification in routed:
        if classification.role is not None:
            by_role[classification.role].append(classification)
    return {
        role: tuple(
            v.series for v in sorted(by_role[role], key=lambda v: _rank(v, axials), reverse=True)
        )
        for role in Role
        if by_role[role]
    }


def _axials_mm(routed: Sequence[Classification]) -> NDArray[np.float64]:
    """The z of the centres of all axial slices, shape (slices,)."""
    planes = [h.plane for v in routed if v.role is Role.AXIAL_T2 for h in v.series.slices]
    return np.array([plane.centre_mm[2] for plane in planes])


def _rank(
    classification: Classification, axials_mm: NDArray[np.float64]
) -> tuple[float | str, ...]:
    """Sort key; larger is better.

    In order: classified by headers, T2 before STIR, coverage, resolution, recency, UID. The
    coverage of a sagittal series is the number of axial slices within its height, because
    axial stacks are planned on the levels of interest.
    """
    series, weighting = classification.series, classification.weighting
    preference = _PREFERENCE.index(weighting) if weighting in _PREFERENCE else 0
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
        FROM_PIXELS not in classification.flags,
        -preference,
        covered,
        # In steps of a centimetre: one slice more does not make the coverage better.
        round(extent / 10),
        round(resolution, 3),
        series.acquisition.acquired,
        series.series_instance_uid,
    )


def _decision(classification: Classification, roles: dict[Role, tuple[Series, ...]]) -> Routing:
    series, reason = classification.series, classification.reason
    if series.part:
        reason = f"part {series.part} of its series: {reason}"
    if classification.role in (Role.SAGITTAL_T1, Role.SAGITTAL_T2):
        position = roles[classification.role].index(classification.series)
        if position:
            reason += f"; reserve, number {position + 1} of its role"
    return Routing(
        series_instance_uid=classification.series.series_instance_uid,
        series_description=classification.series.acquisition.series_description,
        role=classification.role,
        reason=reason,
        flags=classification.flags,
        elsewhere=classification.elsewhere,
        unusable=classification.unusable,
        evidence=classification.evidence,
    )


def _labelled_lumbar(classified: Sequence[Classification]) -> bool:
    return any(
        v.rule not in (rules.structured_report, rules.not_mr) and rules.labelled_lumbar(v.series)
        for v in classified
    )


def _reject(classified: Sequence[Classification]) -> None:
    """Raise the error of a study without any role."""
    if all(v.rule in (rules.structured_report, rules.not_mr) for v in classified):
        kinds = Counter(vocabulary.modality(v.series.acquisition.modality) for v in classified)
        content = ", ".join(f"{kind} ({count} series)" for kind, count in sorted(kinds.items()))
        raise NotLumbar(f"the study has no MR images, only {content}; send a lumbar MRI")
    reasons = "; ".join(sorted({v.reason for v in classified})[:6])
    if any(v.rule is rules.other_region for v in classified):
        raise NotLumbar(f"no series shows the lumbar spine: {reasons}")
    raise NoUsableSeries(f"none of the {len(classified)} series can be used: {reasons}")
