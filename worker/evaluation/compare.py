"""One report against the challenge's tables: severities, and points in millimetres."""

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
    """How far a reported point lies from the annotated one.

    `in_plane_mm` is measured within the annotated slice, `through_plane_mm` from the
    annotated point to the reported slice; `slices_apart` is the latter in units of the
    annotated series' spacing, None where that is unknown. `on_its_side` says whether the
    point lies on its target's side of the annotated midline, None where there is none.
    """

    in_plane_mm: float
    through_plane_mm: float
    slices_apart: int | None
    on_its_side: bool | None


@dataclass(frozen=True)
class Compared:
    """One target: what the table says and what the report says; None where it says nothing."""

    target: Target
    truth: Severity | None
    reported: Severity | None
    reason: str | None
    distance: Distance | None

    @property
    def correct(self) -> bool | None:
        """Whether the grades agree; None where one of them is missing."""
        if self.truth is None or self.reported is None:
            return None
        return self.truth is self.reported


@dataclass(frozen=True)
class Comparison:
    """All 25 targets of one study, and one line for whatever could not be compared."""

    study_id: str
    targets: tuple[Compared, ...]
    problems: tuple[str, ...]

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The figures that say whether points lie where they should."""
        canal = self._distances(Condition.SPINAL_CANAL_STENOSIS)
        foramina = self._distances(Condition.NEURAL_FORAMINAL_NARROWING)
        recesses = self._distances(Condition.SUBARTICULAR_STENOSIS)
        wrong = sum(d.on_its_side is False for d in foramina)
        planes = [d.through_plane_mm for d in recesses]
        return (
            _at_most("canal: largest distance in plane", [d.in_plane_mm for d in canal], 6, "mm"),
            _at_most("canal: most slices across", _apart(canal), 1, "slices"),
            Verdict(
                "foramina: on their side",
                f"{len(foramina) - wrong} of {len(foramina)}",
                wrong == 0 if foramina else None,
            ),
            _at_most(
                "foramina: largest distance in plane", [d.in_plane_mm for d in foramina], 8, "mm"
            ),
            _at_most("foramina: most slices across", _apart(foramina), 2, "slices"),
            _at_most("axial planes: largest distance", planes, 8, "mm"),
            _at_most(
                "axial planes: median distance",
                [statistics.median(planes)] if planes else [],
                4,
                "mm",
            ),
        )

    def _distances(self, condition: Condition) -> list[Distance]:
        found = (c.distance for c in self.targets if c.target.condition is condition)
        return [distance for distance in found if distance is not None]


@dataclass(frozen=True)
class Verdict:
    """One figure against its bar; `passed` is None where there was nothing to measure."""

    what: str
    figure: str
    passed: bool | None


def read_report(path: Path) -> dict[str, Any]:
    """Read a report.json, or the one in a folder; raise BadSettings when it is none."""
    file = path / "report.json" if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadSettings(
            f"{file} cannot be read as JSON; name what `grade --out` wrote"
        ) from error
    if not isinstance(content, dict):
        raise BadSettings(f"{file} is not the report.json that `grade --out` writes")
    return content


def compare(report: Mapping[str, Any], truth: Path) -> Comparison:
    """Compare a report.json with a folder in the layout of the RSNA 2024 challenge.

    Raises BadSettings when the report cannot be understood or the tables do not hold its
    study. Images that are missing cost the distances, not the grades.
    """
    try:
        study_uid = str(report["study_instance_uid"])
        findings = {f.target: f for f in map(_reported, report["findings"])}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadSettings("this is not the report.json that `grade --out` writes") from error
    known = read_truth(study_uid, truth)
    problems = list(known.problems)
    compared = []
    for target in TARGETS:
        said = findings.get(target, _Reported(target))
        distance = None
        if target in known.points and said.position_mm is not None:
            distance = _distance(said, known)
            if distance is None:
                problems.append(f"{target}: the reported image is not among the annotated study's")
        grade = known.severities.get(target)
        compared.append(Compared(target, grade, said.severity, said.reason, distance))
    return Comparison(known.study_id, tuple(compared), tuple(problems))


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
            {"what": v.what, "figure": v.figure, "passed": v.passed} for v in comparison.verdicts
        ],
        "problems": list(comparison.problems),
    }


def _compared_json(compared: Compared) -> dict[str, Any]:
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
class _Reported:
    target: Target
    severity: Severity | None = None
    reason: str | None = None
    position_mm: Vector | None = None
    image: tuple[str, int | None, int | None] | None = None


def _reported(finding: Mapping[str, Any]) -> _Reported:
    side = None if finding["side"] is None else Side(finding["side"])
    target = Target(Condition(finding["condition"]), Level(finding["level"]), side)
    if finding["status"] != "graded":
        return _Reported(target, reason=finding["reason"])
    point = finding["point"]
    return _Reported(
        target,
        Severity(finding["severity"]),
        None,
        np.array([float(value) for value in point["patient_mm"]]).reshape(3),
        (point["series_instance_uid"], point["instance_number"], point["frame"]),
    )


def _distance(said: _Reported, truth: Truth) -> Distance | None:
    annotated = truth.points[said.target]
    header = None if said.image is None else truth.images.reported.get(said.image)
    if header is None or said.position_mm is None:
        return None
    plane = annotated.header.plane
    column, row = plane.to_px(said.position_mm)
    across_mm = (column - annotated.column) * plane.column_spacing_mm
    down_mm = (row - annotated.row) * plane.row_spacing_mm
    through_mm = abs(header.plane.distance_mm(annotated.position_mm))
    spacing = annotated.spacing_mm
    side, midline = said.target.side, truth.midline_x_mm(said.target)
    on_its_side = None
    if side is not None and midline is not None:
        # Patient left is +x.
        on_its_side = bool(said.position_mm[0] > midline) == (side is Side.LEFT)
    return Distance(
        in_plane_mm=math.hypot(across_mm, down_mm),
        through_plane_mm=through_mm,
        slices_apart=None if spacing is None else round(through_mm / spacing),
        on_its_side=on_its_side,
    )


def _apart(distances: Iterable[Distance]) -> list[int]:
    return [d.slices_apart for d in distances if d.slices_apart is not None]


def _at_most(what: str, values: list[float] | list[int], bar: float, unit: str) -> Verdict:
    if not values:
        return Verdict(what, "nothing to measure", None)
    worst = max(values)
    text = f"{worst}" if isinstance(worst, int) else f"{worst:.1f}"
    return Verdict(what, f"{text} {unit} (at most {bar})", worst <= bar)
