"""report.json: findings, routing, repairs and timings in a stable format."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from dicom_sr.content import NOTICE
from dicom_sr.findings import (
    BundleIdentity,
    Finding,
    Graded,
    ImagePoint,
    ImageReference,
    NotAssessed,
    Severity,
)
from worker.domain.graded_study import GradedStudy
from worker.domain.study import Exclusion, Repair, Routing
from worker.report.slice_index import Slice, slices_by_image


def report_document(graded: GradedStudy) -> dict[str, Any]:
    """The report as JSON types; every key is always present, null without a value.

    `column` and `row` are 0-based pixels (the centre of the first pixel is 0, 0),
    `patient_mm` is LPS, `frame` counts from 1, `timings_ms` is by step.
    """
    report = graded.report
    slices = slices_by_image(graded.volumes)
    return {
        "study_instance_uid": report.study_instance_uid,
        "notice": NOTICE,
        "bundle": _bundle(report.bundle),
        "findings": [_finding(finding, slices) for finding in report.findings],
        "exclusions": exclusions(graded.routed.exclusions),
        "routed": routings(graded.routed.routed),
        "rejected": routings(graded.routed.rejected),
        "repairs": repairs(graded.repairs),
        "timings_ms": {step: round(value, 1) for step, value in graded.timings_ms.items()},
    }


def to_json(content: Mapping[str, Any]) -> str:
    """Indented JSON with a final newline."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def routings(decisions: Iterable[Routing]) -> list[dict[str, Any]]:
    """The routing decision of each series; `role` is null if it was rejected."""
    return [
        {
            "series_instance_uid": decision.series_instance_uid,
            "series_description": decision.series_description,
            "role": None if decision.role is None else decision.role.value,
            "reason": decision.reason,
            "flags": list(decision.flags),
            "evidence": [
                {"rule": one.rule, "says": one.says, "because": one.because}
                for one in decision.evidence
            ],
        }
        for decision in decisions
    ]


def exclusions(reasons: Iterable[Exclusion]) -> list[dict[str, str]]:
    """Why the headers exclude the study from grading; empty if they do not."""
    return [
        {
            "reason": one.reason.label,
            "reason_code": one.reason.value,
            "because": one.because,
        }
        for one in reasons
    ]


def repairs(made: Iterable[Repair]) -> list[dict[str, Any]]:
    """The repairs with their series (null: the whole study) and number of instances."""
    return [
        {
            "kind": repair.kind.value,
            "series_instance_uid": repair.series_instance_uid,
            "instances": repair.instances,
            "detail": repair.detail,
        }
        for repair in made
    ]


def _bundle(bundle: BundleIdentity) -> dict[str, str]:
    return {
        "name": bundle.name,
        "version": bundle.version,
        "sha256": bundle.sha256,
        "device_uid": bundle.device_uid,
    }


def _finding(finding: Finding, slices: Mapping[ImageReference, Slice]) -> dict[str, Any]:
    target = finding.target
    name = {"condition": target.condition.value, "side": target.side, "level": target.level.value}
    match finding:
        case Graded():
            return name | {
                "status": "graded",
                "severity": finding.severity.value,
                "probabilities": {s.value: finding.probabilities.of(s) for s in Severity},
                "confidence": finding.confidence,
                "point": _point(finding.point, slices[finding.point.image]),
                "graded_on": _image(finding.graded_on),
                "reason": None,
                "reason_code": None,
            }
        case NotAssessed():
            return name | {
                "status": "not_assessed",
                "severity": None,
                "probabilities": None,
                "confidence": None,
                "point": None,
                "graded_on": None,
                "reason": finding.reason.label,
                "reason_code": finding.reason.value,
            }


def _point(point: ImagePoint, shown: Slice) -> dict[str, Any]:
    position = shown.plane.to_mm(point.column, point.row)
    return _image(point.image) | {
        "instance_number": shown.header.instance_number,
        "column": point.column,
        "row": point.row,
        "patient_mm": [round(float(value), 3) for value in position],
    }


def _image(image: ImageReference) -> dict[str, Any]:
    return {
        "series_instance_uid": image.series_instance_uid,
        "sop_instance_uid": image.sop_instance_uid,
        "frame": image.frame,
    }
