"""Texts shared by the page, the images and the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from dicom_sr.findings import Condition, Graded, Report, Severity, Side
from worker.domain.study import Repair, RepairKind

COLUMNS: Final[tuple[tuple[str, Condition, Side | None], ...]] = (
    ("Spinal canal", Condition.SPINAL_CANAL_STENOSIS, None),
    ("Left foraminal", Condition.NEURAL_FORAMINAL_NARROWING, Side.LEFT),
    ("Right foraminal", Condition.NEURAL_FORAMINAL_NARROWING, Side.RIGHT),
    ("Left subarticular", Condition.SUBARTICULAR_STENOSIS, Side.LEFT),
    ("Right subarticular", Condition.SUBARTICULAR_STENOSIS, Side.RIGHT),
)
"""The columns of the 5 x 5 table; its rows are the levels."""

_REPAIRS: Final = {
    RepairKind.SOP_CLASS: "SOP Class UID was missing; taken as MR Image Storage",
    RepairKind.MODALITY: "Modality was missing; taken as MR",
    RepairKind.SOP_INSTANCE: "SOP Instance UID repeats between series; replaced by a derived one",
    RepairKind.TYPE_2: "type 2 attributes were missing; filled empty",
    RepairKind.FRAME_OF_REFERENCE: "Frame of Reference UID differs from the other series",
    RepairKind.UNREADABLE: "objects that could not be read",
    RepairKind.DUPLICATE: "duplicate slices",
    RepairKind.PART: "images of a series that were left out",
}

_LISTED: Final = 5


def summary(report: Report) -> str:
    """The severe and moderate findings and the number of graded targets, in a few sentences."""
    severe = _of(report, Severity.SEVERE)
    moderate = _of(report, Severity.MODERATE)
    sentences = []
    if severe:
        sentences.append(f"Severe: {_listed(severe)}.")
    if moderate:
        sentences.append(f"Moderate: {_listed(moderate)}.")
    if report.graded and not sentences:
        sentences.append("No moderate or severe finding.")
    missing = len(report.not_assessed)
    rest = f"; {missing} not assessed" if missing else ""
    sentences.append(f"{len(report.graded)} of {len(report.findings)} targets graded{rest}.")
    return " ".join(sentences)


@dataclass(frozen=True)
class RepairSummary:
    """One kind of repair over all series, with the number of images and series."""

    repair: str
    details: str
    images: int
    series: int


def summarise_repairs(repairs: Iterable[Repair]) -> list[RepairSummary]:
    """Repairs grouped by kind, so that a repair of every series is listed once."""
    kinds: dict[RepairKind, list[Repair]] = {}
    for repair in repairs:
        kinds.setdefault(repair.kind, []).append(repair)
    return [
        RepairSummary(
            repair=_REPAIRS[kind],
            details=", ".join(_details(kind, made)),
            images=sum(r.instances for r in made),
            series=len({r.series_instance_uid for r in made} - {None}),
        )
        for kind, made in kinds.items()
    ]


def _details(kind: RepairKind, made: Sequence[Repair]) -> list[str]:
    if kind in (RepairKind.SOP_CLASS, RepairKind.MODALITY, RepairKind.SOP_INSTANCE):
        return []  # the text of the repair is complete
    return sorted({part for repair in made for part in repair.detail.split(", ") if part})


def percent(share: float) -> str:
    """A share (0..1) in whole percent; `<1 %` and `>99 %` instead of a rounded 0 or 100."""
    if 0 < share < 0.01:
        return "<1 %"
    if 0.99 < share < 1:
        return ">99 %"
    return f"{share:.0%}".replace("%", " %")


def _of(report: Report, severity: Severity) -> list[Graded]:
    findings = [f for f in report.graded if f.severity is severity]
    return sorted(findings, key=lambda f: -f.confidence)


def _listed(findings: Sequence[Graded]) -> str:
    names = [str(f.target) for f in findings[:_LISTED]]
    more = len(findings) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
