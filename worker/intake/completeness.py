"""The roles that no series of a study has, and the targets that cannot be graded without them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from dicom_sr.findings import TARGETS, Condition, Target
from worker.domain.study import Role, RoutedStudy

NEEDED: Final = {
    Condition.SPINAL_CANAL_STENOSIS: frozenset({Role.SAGITTAL_T2, Role.AXIAL_T2}),
    Condition.NEURAL_FORAMINAL_NARROWING: frozenset({Role.SAGITTAL_T1}),
    Condition.SUBARTICULAR_STENOSIS: frozenset({Role.AXIAL_T2}),
}
"""The roles that the grading of each condition requires."""


def missing(routed: RoutedStudy) -> tuple[Role, ...]:
    """The roles that no series of the study has."""
    return tuple(role for role in Role if not routed.roles.get(role))


def lost(roles: Collection[Role]) -> tuple[Target, ...]:
    """The targets that cannot be graded without these roles."""
    return tuple(target for target in TARGETS if NEEDED[target.condition] & set(roles))


def describe(roles: Collection[Role]) -> str:
    """The missing roles and the number of targets lost, in one line; empty without any."""
    if not roles:
        return ""
    names = " and ".join(role.label for role in Role if role in roles)
    return f"no series is {names}: {len(lost(roles))} of {len(TARGETS)} targets cannot be graded"
