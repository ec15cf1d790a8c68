"""The files of a report, written into one folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmwrite

from worker.domain.graded_study import GradedStudy
from worker.report.finding_images import draw_finding_images
from worker.report.report_json import report_document, to_json
from worker.report.report_page import SLICES, page


@dataclass(frozen=True)
class ReportFiles:
    """Where the files of a report lie."""

    document: Path
    page: Path
    structured_report: Path
    slices: Path
    pictures: tuple[Path, ...]


def write_report(
    graded: GradedStudy, structured_report: Dataset, folder: Path, viewer: str | None = None
) -> ReportFiles:
    """Write report.json, report.html, report.dcm and slices/*.png, replacing older ones.

    `viewer` is the root of the OHIF viewer that the page links to.
    `folder` is made where it does not exist; files of other names in it are left alone,
    pictures of an earlier report are not. Raises OSError.
    """
    slices = folder / SLICES
    slices.mkdir(parents=True, exist_ok=True)
    # A target that is no longer graded must not keep its old picture.
    for old in slices.glob("*.png"):
        old.unlink()
    pictures = draw_finding_images(graded.report, graded.volumes)
    for picture in pictures:
        (slices / picture.name).write_bytes(picture.png)
    written = ReportFiles(
        document=folder / "report.json",
        page=folder / "report.html",
        structured_report=folder / "report.dcm",
        slices=slices,
        pictures=tuple(slices / picture.name for picture in pictures),
    )
    written.document.write_text(to_json(report_document(graded)), encoding="utf-8")
    written.page.write_text(page(graded, pictures, viewer), encoding="utf-8")
    dcmwrite(written.structured_report, structured_report, enforce_file_format=True)
    return written
