"""A study of enhanced multi-frame objects is graded as the same study of classic images."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread, dcmwrite

from dicom_sr.findings import Graded
from dicom_sr.reader import read
from tests.support.enhanced import enhance_study
from tests.support.phantoms import shared_phantom
from worker.archive.folder import FolderArchive
from worker.domain.graded_study import GradedStudy
from worker.models.bundle import Bundle
from worker.phantom import write_phantom
from worker.pipeline import grade
from worker.report.structured import structured_report


@pytest.fixture(scope="module")
def both(
    quick_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> tuple[GradedStudy, GradedStudy, Path]:
    """A phantom graded as classic images and as enhanced objects, and where the latter lie."""
    folder = tmp_path_factory.mktemp("both")
    for kind in ("classic", "enhanced"):
        write_phantom(shared_phantom(31), folder / kind)
    enhance_study(folder / "enhanced")
    classic, enhanced = (
        grade(str(folder / kind), FolderArchive(), quick_bundle) for kind in ("classic", "enhanced")
    )
    return classic, enhanced, folder / "enhanced"


def place(finding: Graded, graded: GradedStudy) -> tuple[float, ...]:
    """The patient position of a finding's point."""
    (plane,) = (
        header.plane
        for volume in graded.volumes.all
        for header in volume.slices
        if header.image == finding.point.image
    )
    return tuple(plane.to_mm(finding.point.column, finding.point.row))


def test_every_grade_and_place_is_the_same(both) -> None:
    """Frames or files: severity, probabilities and the point in the patient agree."""
    classic, enhanced, _ = both
    assert len(classic.report.graded) >= 20
    for finding in classic.report.findings:
        other = enhanced.report[finding.target]
        assert type(other) is type(finding)
        if isinstance(finding, Graded):
            assert other.point.image.frame is not None
            assert other.probabilities.severe == pytest.approx(
                finding.probabilities.severe, abs=1e-4
            )
            assert place(other, enhanced) == pytest.approx(place(finding, classic), abs=0.05)


def test_the_report_names_frames(both) -> None:
    """Every reference to an image carries its frame number, and is read back."""
    _, enhanced, folder = both
    buffer = io.BytesIO()
    dcmwrite(buffer, structured_report(enhanced), enforce_file_format=True)
    stored = dcmread(io.BytesIO(buffer.getvalue()))
    assert read(stored) == enhanced.report
    frames = {
        str(header.SOPInstanceUID): header.NumberOfFrames
        for header in map(dcmread, folder.rglob("*.dcm"))
    }
    images = list(references(stored))
    assert len(images) == 2 * len(enhanced.report.graded)
    for image in images:
        number = int(image.ReferencedFrameNumber)
        assert 1 <= number <= frames[str(image.ReferencedSOPInstanceUID)]


def references(item: Dataset):
    """The referenced images of a content tree."""
    if item.get("ValueType") == "IMAGE":
        yield item.ReferencedSOPSequence[0]
    for child in item.get("ContentSequence", ()):
        yield from references(child)
