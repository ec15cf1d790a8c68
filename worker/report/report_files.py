"""Writes the files of a report into one folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmwrite

from worker.domain.graded_study import GradedStudy
from worker.report.finding_images import draw_finding_images
from worker.report.report_json import report_document, to_json
from worker.report.report_page import SLICES, report_page


@dataclass(frozen=True)
class ReportFiles:
    """The paths of a report's files."""

    document: Path
    page: Path
    structured_report: Path
    slices: Path
    images: tuple[Path, ...]


def write_report(
    graded: GradedStudy, structured_report: Dataset, folder: Path, viewer: str | None = None
) -> ReportFiles:
    """Write report.json, report.html, report.dcm and slices/*.png, replacing older ones.

    `viewer` is the root URL of the OHIF viewer that the page links to. `folder` is created if
    necessary; images of an earlier report in it are deleted, other files are kept. Raises
    OSError.
    """
    slices = folder / SLICES
    slices.mkdir(parents=True, exist_ok=True)
    # A target that is no longer graded must not keep its old image.
    for old in slices.glob("*.png"):
        old.unlink()
    images = draw_finding_images(graded.report, graded.volumes)
    for image in images:
        (slices / image.name).write_bytes(image.png)
    files = ReportFiles(
        document=folder / "report.json",
        page=folder / "report.html",
        structured_report=folder / "report.dcm",
        slices=slices,
        images=tuple(slices / image.name for image in images),
    )
    files.document.write_text(to_json(report_document(graded)), encoding="utf-8")
    files.page.write_text(report_page(graded, images, viewer), encoding="utf-8")
    dcmwrite(files.structured_report, structured_report, enforce_file_format=True)
    return files
