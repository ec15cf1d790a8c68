"""Comparison of one report with the challenge's tables: severities, and points in mm."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dicom_sr.findings import TARGETS, Condition, Level, Severity, Side, Target
from worker.domain.geometry import Vector
from worker.errors import BadSettings
from worker.evaluation.truth import Truth, read_truth


@dataclass(frozen=True)
class Distance:
    """The distance of a reported point from the annotated one.

    `in_plane_mm` is measured within the annotated slice, `through_plane_mm` from the
    annotated point to the reported slice. `slices_apart` is the latter in units of the
    annotated series' slice spacing, None if that is unknown. `on_its_side` is true if the
    point lies on its target's side of the annotated midline, None without a midline.
    """

    in_plane_mm: float
    through_plane_mm: float
    slices_apart: int | None
    on_its_side: bool | None


@dataclass(frozen=True)
class TargetComparison:
    """The label and the reported finding of one target; None where there is none."""

    target: Target
    truth: Severity | None
    reported: Severity | None
    reason: str | None
    distance: Distance | None

    @property
    def correct(self) -> bool | None:
        """Whether the grades agree; None if one of them is missing."""
        if self.truth is None or self.reported is None:
            return None
        return self.truth is self.reported


@dataclass(frozen=True)
class Comparison:
    """All 25 targets of one study, and one line for each point that could not be compared."""

    study_id: str
    targets: tuple[TargetComparison, ...]
    problems: tuple[str, ...]

    @property
    def point_checks(self) -> tuple[PointCheck, ...]:
        """The distances and sides of the points, with their limits."""
        canal = self._distances(Condition.SPINAL_CANAL_STENOSIS)
        foramina = self._distances(Condition.NEURAL_FORAMINAL_NARROWING)
        recesses = self._distances(Condition.SUBARTICULAR_STENOSIS)
        wrong = sum(d.on_its_side is False for d in foramina)
        planes = [d.through_plane_mm for d in recesses]
        return (
            _at_most("canal: largest distance in plane", [d.in_plane_mm for d in canal], 6, "mm"),
            _at_most("canal: most slices across", _slices_apart(canal), 1, "slices"),
            PointCheck(
                "foramina: on their side",
                f"{len(foramina) - wrong} of {len(foramina)}",
                wrong == 0 if foramina else None,
            ),
            _at_most(
                "foramina: largest distance in plane", [d.in_plane_mm for d in foramina], 8, "mm"
            ),
            _at_most("foramina: most slices across", _slices_apart(foramina), 2, "slices"),
            _at_most("axial planes: largest distance", planes, 8, "mm"),
            _at_most(
                "axial planes: median distance",
                [statistics.median(planes)] if planes else [],
                4,
                "mm",
            ),
        )

    def _distances(self, condition: Condition) -> list[Distance]:
        distances = (c.distance for c in self.targets if c.target.condition is condition)
        return [distance for distance in distances if distance is not None]


@dataclass(frozen=True)
class PointCheck:
    """One measured value and whether it is within its limit, None if nothing was measured."""

    name: str
    value: str
    passed: bool | None


def read_report(path: Path) -> dict[str, Any]:
    """Read a report.json, or the one in a folder; raise BadSettings if it is not one."""
    file = path / "report.json" if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadSettings(
            f"{file} is not valid JSON; give a report.json written by `lumbar grade --out`"
        ) from error
    if not isinstance(content, dict):
        raise BadSettings(f"{file} is not a report.json written by `lumbar grade --out`")
    return content


def compare(report: Mapping[str, Any], truth: Path) -> Comparison:
    """Compare a report.json with a folder in the layout of the RSNA 2024 challenge.

    Raises BadSettings if the report is invalid or the tables do not contain its study. Without
    the images only grades are compared.
    """
    try:
        study_uid = str(report["study_instance_uid"])
        findings = {f.target: f for f in map(_reported, report["findings"])}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadSettings("not a report.json written by `lumbar grade --out`") from error
    annotated = read_truth(study_uid, truth)
    problems = list(annotated.problems)
    compared = []
    for target in TARGETS:
        reported = findings.get(target, _ReportedFinding(target))
        distance = None
        if target in annotated.points and reported.position_mm is not None:
            distance = _distance(reported, annotated)
            if distance is None:
                problems.append(f"{target}: the reported image is not part of the annotated study")
        label = annotated.severities.get(target)
        compared.append(
            TargetComparison(target, label, reported.severity, reported.reason, distance)
        )
    return Comparison(annotated.study_id, tuple(compared), tuple(problems))


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON types, distances rounded to 0.01 mm."""
    graded = [c for c in comparison.targets if c.correct is not None]
    return {
        "study_id": comparison.study_id,
        "labelled": sum(c.truth is not None for c in comparison.targets),
        "compared": len(graded),
        "correct": sum(c.correct is True for c in graded),
        "targets": [_compared_json(c) for c in comparison.targets],
        "verdicts": [
            {"what": check.name, "figure": check.value, "passed": check.passed}
            for check in comparison.point_checks
        ],
        "problems": list(comparison.problems),
    }


def _compared_json(compared: TargetComparison) -> dict[str, Any]:
    distance = compared.distance
    return {
        "condition": compared.target.condition.value,
        "side": compared.target.side,
        "level": compared.target.level.value,
        "truth": compared.truth,
        "reported": compared.reported,
        "reason": compared.reason,
        "in_plane_mm": None if distance is None else round(distance.in_plane_mm, 2),
        "through_plane_mm": None if distance is None else round(distance.through_plane_mm, 2),
        "slices_apart": None if distance is None else distance.slices_apart,
        "on_its_side": None if distance is None else distance.on_its_side,
    }


@dataclass(frozen=True, eq=False)
class _ReportedFinding:
    target: Target
    severity: Severity | None = None
    reason: str | None = None
    position_mm: Vector | None = None
    image: tuple[str, int | None, int | None] | None = None


def _reported(finding: Mapping[str, Any]) -> _ReportedFinding:
    side = None if finding["side"] is None else Side(finding["side"])
    target = Target(Condition(finding["condition"]), Level(finding["level"]), side)
    if finding["status"] != "graded":
        return _ReportedFinding(target, reason=finding["reason"])
    point = finding["point"]
    return _ReportedFinding(
        target,
        Severity(finding["severity"]),
        None,
        np.array([float(value) for value in point["patient_mm"]]).reshape(3),
        (point["series_instance_uid"], point["instance_number"], point["frame"]),
    )


def _distance(reported: _ReportedFinding, truth: Truth) -> Distance | None:
    annotated = truth.points[reported.target]
    header = None if reported.image is None else truth.images.reported.get(reported.image)
    if header is None or reported.position_mm is None:
        return None
    plane = annotated.header.plane
    column, row = plane.to_px(reported.position_mm)
    across_mm = (column - annotated.column) * plane.column_spacing_mm
    down_mm = (row - annotated.row) * plane.row_spacing_mm
    through_mm = abs(header.plane.distance_mm(annotated.position_mm))
    spacing = annotated.spacing_mm
    side, midline = reported.target.side, truth.midline_x_mm(reported.target)
    on_its_side = None
    if side is not None and midline is not None:
        # The patient's left is +x.
        on_its_side = bool(reported.position_mm[0] > midline) == (side is Side.LEFT)
    return Distance(
        in_plane_mm=math.hypot(across_mm, down_mm),
        through_plane_mm=through_mm,
        slices_apart=None if spacing is None else round(through_mm / spacing),
        on_its_side=on_its_side,
    )


def _slices_apart(distances: Iterable[Distance]) -> list[int]:
    return [d.slices_apart for d in distances if d.slices_apart is not None]


def _at_most(name: str, values: list[float] | list[int], limit: float, unit: str) -> PointCheck:
    if not values:
        return PointCheck(name, "no point to measure", None)
    worst = max(values)
    text = f"{worst}" if isinstance(worst, int) else f"{worst:.1f}"
    return PointCheck(name, f"{text} {unit} (at most {limit})", worst <= limit)
