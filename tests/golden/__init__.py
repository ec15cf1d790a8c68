"""Findings that were stored, so that a change of results cannot pass unnoticed.

`findings.json` holds what the packaged bundle found on three phantoms and on the two real
studies, and the versions of the approach and of the pipeline that found it. Results may change
only when one of these versions is raised: they are part of a report's identity. After raising
one, write the file again: `python -m tests.golden FOLDER_WITH_REAL_DATA`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from dicom_sr.findings import Finding, Graded, NotAssessed, Severity
from worker import PIPELINE_VERSION
from worker.archive.folder import FolderArchive
from worker.domain.graded_study import GradedStudy
from worker.models.bundle import Bundle, resolved
from worker.phantom import make_phantom, parse_lesion, write_phantom
from worker.pipeline import grade

FILE: Final = Path(__file__).with_name("findings.json")

PHANTOMS: Final[Mapping[str, tuple[int, tuple[str, ...]]]] = {
    "phantom 7": (7, ("L4/L5 left subarticular stenosis=severe",)),
    "phantom 23": (
        23,
        ("L3/L4 spinal canal stenosis=severe", "L5/S1 right neural foraminal narrowing=moderate"),
    ),
    "phantom 41": (41, ()),
}
"""Seed and lesions of each phantom."""

REAL: Final = (
    "rsna_2024/train_images/1002894806",
    "rsna_2024/test_images/44036939",
)
"""Studies in the folder of real data."""

POINT_PX: Final = 0.1
PROBABILITY: Final = 1e-4


def versions(bundle: Bundle) -> dict[str, int]:
    """The versions that a change of results must raise one of, by name."""
    return {"pipeline": PIPELINE_VERSION, **dict(_versions(resolved(bundle.approach)))}


def phantom_findings(name: str, bundle: Bundle) -> dict[str, Any]:
    """The findings of one of the phantoms."""
    seed, lesions = PHANTOMS[name]
    with tempfile.TemporaryDirectory() as folder:
        phantom = make_phantom(seed, dict(parse_lesion(lesion) for lesion in lesions))
        write_phantom(phantom, Path(folder))
        return study_findings(Path(folder), bundle)


def study_findings(folder: Path, bundle: Bundle) -> dict[str, Any]:
    """The findings of a study by target, without any UID."""
    graded = grade(str(folder), FolderArchive(), bundle)
    return {str(one.target): _finding(one, graded) for one in graded.report.findings}


def stored() -> dict[str, Any]:
    """What the file holds."""
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One line for each target whose finding changed.

    Grades, reasons and images must be equal, points agree within 0.1 px, probabilities and
    confidences within 1e-4.
    """
    return [
        f"{target}: {old[target]} is now {new[target]}"
        for target in old
        if not _agree(old[target], new[target])
    ]


def refusal(old: Mapping[str, Any], new: Mapping[str, Any], real: bool) -> str | None:
    """Why `new` may not replace the stored content `old`, or None where it may.

    `real` tells whether the real studies were graded again.
    """
    if old["versions"] != new["versions"]:
        return None if real else "a version was raised: name the folder of the real studies"
    changed = [
        line
        for name, findings in old["studies"].items()
        for line in differences(findings, new["studies"][name])
    ]
    return (
        "\n".join(["no version was raised, but findings changed:", *changed]) if changed else None
    )


def _agree(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    exact = ("severity", "reason", "shown_on", "graded_on")
    if any(old.get(name) != new.get(name) for name in exact):
        return False
    limits = {"probabilities": PROBABILITY, "point": POINT_PX}
    return all(
        abs(a - b) <= limit
        for name, limit in limits.items()
        for a, b in zip(old.get(name, ()), new.get(name, ()), strict=True)
    ) and (abs(old.get("confidence", 0) - new.get("confidence", 0)) <= PROBABILITY)


def _finding(finding: Finding, graded: GradedStudy) -> dict[str, Any]:
    match finding:
        case NotAssessed():
            return {"reason": finding.reason.value}
        case Graded():
            headers = {
                header.image: (role.value, header.instance_number, header.image.frame)
                for role, chosen in graded.routed.roles.items()
                for series in chosen
                for header in series.slices
            }
            return {
                "severity": finding.severity.value,
                "probabilities": [finding.probabilities.of(s) for s in Severity],
                "confidence": finding.confidence,
                "point": [finding.point.column, finding.point.row],
                "shown_on": list(headers[finding.point.image]),
                "graded_on": list(headers[finding.graded_on]),
            }


def _versions(content: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    if "name" in content and "version" in content:
        yield str(content["name"]), int(content["version"])
    for value in content.values():
        if isinstance(value, Mapping):
            yield from _versions(value)
