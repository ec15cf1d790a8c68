"""From predictions to findings: calibration, decision, abstention, and missing series.

The same for every approach.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, assert_never

from dicom_sr.findings import (
    Condition,
    Finding,
    Graded,
    NotAssessed,
    NotAssessedReason,
    Target,
    targets_of,
)
from worker.domain.predictions import Prediction
from worker.domain.study import Role
from worker.domain.volume import Volumes
from worker.models.calibration import at_temperature
from worker.models.card import Card

Predictions = Mapping[Target, Prediction | NotAssessedReason]

_NUMBERING: Final = frozenset(
    {
        NotAssessedReason.NOT_LUMBAR,
        NotAssessedReason.TOO_FEW_LEVELS,
        NotAssessedReason.TRANSITIONAL_ANATOMY,
        NotAssessedReason.ORIENTATION_IN_DOUBT,
    }
)
"""Reasons that concern the whole study: they come before a missing series."""

_ROLES: Final = (Role.AXIAL_T2, Role.SAGITTAL_T2, Role.SAGITTAL_T1)
"""Of several missing series the first in this order is named."""


def findings_of(
    predictions: Predictions,
    volumes: Volumes,
    card: Card,
    requires: Mapping[Condition, frozenset[Role]],
    absent: Mapping[Role, NotAssessedReason] | None = None,
) -> tuple[Finding, ...]:
    """A finding for every target of the card's target set: its grade, or why it has none.

    `requires` holds the series without which a condition is not assessed; `absent` says of roles
    without a volume why that is, where a series for it is there.
    """
    reasons = _NO_SERIES | dict(absent or {}) | dict(volumes.absent)
    planes = {header.image: header.plane for volume in volumes.all for header in volume.slices}

    def finding(target: Target) -> Finding:
        answer = predictions[target]
        if answer in _NUMBERING:
            return NotAssessed(target, answer)
        reason = _missing_series(requires[target.condition], volumes, reasons)
        if reason is not None:
            return NotAssessed(target, reason)
        match answer:
            case NotAssessedReason():
                return NotAssessed(target, answer)
            case Prediction():
                point = answer.point
                if not planes[point.image].contains(point.column, point.row):
                    return NotAssessed(target, NotAssessedReason.OUTSIDE_IMAGE)
                return _decide(target, answer, card)
            case _:
                assert_never(answer)

    return tuple(finding(target) for target in targets_of(card.target_set))


def all_not_assessed(reason: NotAssessedReason, card: Card) -> tuple[Finding, ...]:
    """The same reason for every target of a card's target set."""
    return tuple(NotAssessed(target, reason) for target in targets_of(card.target_set))


def _decide(target: Target, prediction: Prediction, card: Card) -> Finding:
    """Calibrate, and grade unless the models are too uncertain.

    The confidence is the probability of the grade times that of the place.
    """
    condition = target.condition
    temperature = card.calibration[condition].temperature
    probabilities = at_temperature(prediction.probabilities, temperature)
    certainty = probabilities.of(probabilities.severity)
    if certainty < card.decision[condition].abstain_below:
        return NotAssessed(target, NotAssessedReason.UNCERTAIN)
    confidence = certainty * prediction.confidence
    return Graded(target, probabilities, confidence, prediction.point, prediction.graded_on)


def _missing_series(
    required: frozenset[Role], volumes: Volumes, reasons: Mapping[Role, NotAssessedReason]
) -> NotAssessedReason | None:
    for role in _ROLES:
        if role not in required or volumes.of(role):
            continue
        return reasons[role]
    return None


_NO_SERIES: Final = {
    Role.SAGITTAL_T1: NotAssessedReason.NO_SAGITTAL_T1,
    Role.SAGITTAL_T2: NotAssessedReason.NO_SAGITTAL_T2,
    Role.AXIAL_T2: NotAssessedReason.NO_AXIAL_T2,
}
