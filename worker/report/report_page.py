"""report.html: the 5 x 5 table of grades with images, series and repairs on one page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from dicom_sr.content import NOTICE
from dicom_sr.findings import Finding, Graded, Level, Severity, Target
from worker.domain.graded_study import GradedStudy
from worker.domain.study import Routing
from worker.report.finding_images import FindingImage
from worker.report.links import viewer_link
from worker.report.text import COLUMNS, percent, summarise_repairs, summary

SLICES: Final = "slices"
"""The folder of the images, relative to the page."""

_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("worker.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def report_page(
    graded: GradedStudy, images: Sequence[FindingImage], viewer: str | None = None
) -> str:
    """The page as HTML with embedded style and thumbnails; larger images are linked in `SLICES`.

    The page identifies the study by its UID only. With `viewer`, the root URL of an OHIF viewer,
    the study and its targets link to it. The same input gives the same page.
    """
    report = graded.report

    def link(target: Target | None = None) -> str | None:
        return None if viewer is None else viewer_link(viewer, report.study_instance_uid, target)

    by_target: dict[Target, list[FindingImage]] = {}
    for image in images:
        by_target.setdefault(image.target, []).append(image)
    rows = [
        {
            "level": level.value,
            "cells": [
                {**_cell(report[target], by_target.get(target, [])), "viewer": link(target)}
                for target in (Target(condition, level, side) for _, condition, side in COLUMNS)
            ],
        }
        for level in Level
    ]
    return _ENVIRONMENT.get_template("report.html.jinja").render(
        notice=NOTICE,
        report=report,
        viewer=link(),
        summary=summary(report),
        exclusions=graded.routed.exclusions,
        columns=[name for name, _, _ in COLUMNS],
        rows=rows,
        severities=list(Severity),
        series=[_series(decision) for decision in graded.routed.decisions],
        repairs=summarise_repairs(graded.repairs),
        timings=[(step, f"{ms:.0f} ms") for step, ms in graded.timings_ms.items()],
        total=f"{sum(graded.timings_ms.values()) / 1000:.1f} s",
    )


def _cell(finding: Finding, images: Sequence[FindingImage]) -> Mapping[str, Any]:
    if not isinstance(finding, Graded):
        return {"target": str(finding.target), "graded": False, "reason": finding.reason.label}
    return {
        "target": str(finding.target),
        "graded": True,
        "severity": finding.severity,
        "confidence": percent(finding.confidence),
        "shares": [
            {
                "severity": severity,
                "text": percent(finding.probabilities.of(severity)),
                "width": f"{finding.probabilities.of(severity) * 100:.1f}%",
            }
            for severity in Severity
        ],
        "images": [
            {
                "link": f"{SLICES}/{image.name}",
                "description": image.description,
                "source": "data:image/jpeg;base64," + base64.b64encode(image.thumbnail).decode(),
            }
            for image in images
        ],
    }


def _series(decision: Routing) -> Mapping[str, Any]:
    return {
        "description": decision.series_description or "(no description)",
        "uid": decision.series_instance_uid,
        "role": None if decision.role is None else decision.role.label,
        "reason": "; ".join((decision.reason, *decision.flags)),
        "evidence": decision.evidence,
    }
