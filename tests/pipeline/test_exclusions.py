"""What must not be graded is not: each reason is read back, coded, from the study's SR."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage

from dicom_sr.findings import Condition, Level, NotAssessedReason, Target
from dicom_sr.reader import read
from tests.support.phantoms import shared_phantom
from worker.archive.folder import FolderArchive
from worker.domain.study import Role
from worker.errors import NotLumbar
from worker.models.bundle import Bundle
from worker.phantom import write_phantom
from worker.phantom.study import Phantom
from worker.pipeline import grade
from worker.report.structured import structured_report


class Unread(FolderArchive):
    """An archive whose pixels nobody may ask for."""

    def fetch(self, keys):
        raise AssertionError(f"{len(keys)} objects were read")


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    """One small phantom for all."""
    return shared_phantom(11)


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (NotAssessedReason.UNDER_AGE, {"PatientAge": "015Y"}),
        (NotAssessedReason.NOT_LUMBAR, {"PixelSpacing": [0.3, 0.8]}),
        (NotAssessedReason.TRANSITIONAL_ANATOMY, {"StudyDescription": "L-spine, Castellvi III"}),
        (NotAssessedReason.METAL_ARTEFACT, {"StudyDescription": "L-spine, titanium screws"}),
    ],
)
def test_headers_alone_exclude_a_whole_study(
    phantom: Phantom, quick_bundle: Bundle, tmp_path: Path, reason: NotAssessedReason, changes: dict
) -> None:
    """25 times the same coded reason in an SR of every image, and no pixel read."""
    write_phantom(phantom, tmp_path)
    files = list(tmp_path.rglob("*.dcm"))
    for file in files:
        dataset = dcmread(file)
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
        dataset.save_as(file)
    document = structured_report(grade(str(tmp_path), Unread(), quick_bundle))
    report = read(document)
    assert [finding.reason for finding in report.not_assessed] == [reason] * 25
    (study,) = document.CurrentRequestedProcedureEvidenceSequence
    listed = sum(len(series.ReferencedSOPSequence) for series in study.ReferencedSeriesSequence)
    assert listed == len(files)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Modality": "CT", "SOPClassUID": CTImageStorage}, "has no MR images, only CT"),
        ({"SeriesDescription": "T2 brain", "BodyPartExamined": "HEAD"}, "another region"),
    ],
    ids=["not MR", "not lumbar"],
)
def test_a_study_of_something_else_is_refused_with_its_reason(
    phantom: Phantom, quick_bundle: Bundle, tmp_path: Path, changes: dict, said: str
) -> None:
    """What is no lumbar MRI at all gets no report, and no pixel is read."""
    write_phantom(phantom, tmp_path)
    for file in tmp_path.rglob("*.dcm"):
        dataset = dcmread(file)
        dataset.StudyDescription = dataset.ProtocolName = ""
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
        dataset.save_as(file)
    with pytest.raises(NotLumbar, match=said):
        grade(str(tmp_path), Unread(), quick_bundle)


def changed(folder: Path, series: str, change: Callable[[Dataset], None]) -> None:
    """Change every file of one series in place."""
    (files,) = folder.rglob(series)
    for file in files.iterdir():
        dataset = dcmread(file)
        change(dataset)
        dataset.save_as(file)


def noise(dataset: Dataset) -> None:
    """Pixels that show nothing."""
    drawn = np.random.default_rng(dataset.InstanceNumber)
    shape = dataset.Rows, dataset.Columns
    dataset.PixelData = drawn.integers(0, 400, shape, dtype=np.uint16).tobytes()


def lowest_rows(dataset: Dataset, first: int) -> None:
    """The image from one of its rows on, where that lies in the patient."""
    down = np.array(dataset.ImageOrientationPatient[3:]) * dataset.PixelSpacing[0]
    moved = np.array(dataset.ImagePositionPatient) + first * down
    dataset.PixelData = dataset.pixel_array[first:].tobytes()
    dataset.Rows -= first
    dataset.ImagePositionPatient = [float(f"{value:.6f}") for value in moved]


def higher_mm(dataset: Dataset, by: float) -> None:
    """The same image farther to the head."""
    dataset.ImagePositionPatient[2] += by


@pytest.fixture
def folder(phantom: Phantom, tmp_path: Path) -> Path:
    """The phantom's files."""
    write_phantom(phantom, tmp_path)
    return tmp_path


def canal_row(phantom: Phantom, role: Role, level: Level) -> int:
    """The row of a series that a level's canal lies on."""
    place = phantom.points[Target(Condition.SPINAL_CANAL_STENOSIS, level)].patient_mm
    return round(phantom.of(role).planes[0].to_px(np.array(place))[1])


SAGITTAL = (Role.SAGITTAL_T1, Role.SAGITTAL_T2)


def test_images_without_a_spine_are_not_lumbar(
    phantom: Phantom, quick_bundle: Bundle, folder: Path
) -> None:
    """Noise under lumbar headers: 25 times the coded reason, never a grade."""
    for role in SAGITTAL:
        changed(folder, phantom.of(role).series_instance_uid, noise)
    report = read(structured_report(grade(str(folder), FolderArchive(), quick_bundle)))
    assert [f.reason for f in report.not_assessed] == [NotAssessedReason.NOT_LUMBAR] * 25


def test_two_levels_are_too_few_to_name(
    phantom: Phantom, quick_bundle: Bundle, folder: Path
) -> None:
    """Stacks that begin below L3/L4 show two levels: none of them is graded."""
    for role in SAGITTAL:
        first = (canal_row(phantom, role, Level.L3_L4) + canal_row(phantom, role, Level.L4_L5)) // 2
        series = phantom.of(role).series_instance_uid
        changed(folder, series, partial(lowest_rows, first=first))
    report = read(structured_report(grade(str(folder), FolderArchive(), quick_bundle)))
    assert [f.reason for f in report.not_assessed] == [NotAssessedReason.TOO_FEW_LEVELS] * 25


def test_two_series_that_name_levels_otherwise_are_not_graded(
    phantom: Phantom, quick_bundle: Bundle, folder: Path
) -> None:
    """T1 a level higher than T2, and no axial series to say which of them moved."""
    axial = phantom.of(Role.AXIAL_T2).series_instance_uid
    for file in folder.rglob("*.dcm"):
        if dcmread(file, stop_before_pixels=True).SeriesInstanceUID == axial:
            file.unlink()
    series = phantom.of(Role.SAGITTAL_T1).series_instance_uid
    changed(folder, series, partial(higher_mm, by=36.0))
    report = read(structured_report(grade(str(folder), FolderArchive(), quick_bundle)))
    assert [f.reason for f in report.not_assessed] == [NotAssessedReason.TRANSITIONAL_ANATOMY] * 25
