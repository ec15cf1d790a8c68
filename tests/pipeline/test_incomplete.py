"""Studies that lack something: what can be graded is, and the rest says why not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_sr.findings import Condition, NotAssessedReason
from dicom_sr.reader import read
from tests.support.phantoms import shared_phantom
from worker.archive.folder import FolderArchive
from worker.domain.study import RepairKind, Role
from worker.errors import LumbarError, Rejected
from worker.models.bundle import Bundle
from worker.phantom import write_phantom
from worker.phantom.study import Phantom
from worker.pipeline import grade
from worker.report.structured import structured_report

CANAL, FORAMINAL, RECESS = Condition


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    """One small phantom for all."""
    return shared_phantom(11)


@pytest.fixture
def folder(phantom: Phantom, tmp_path: Path) -> Path:
    """Its files."""
    write_phantom(phantom, tmp_path / "study")
    return tmp_path / "study"


def remove(folder: Path, phantom: Phantom, role: Role) -> None:
    (series,) = folder.rglob(phantom.of(role).series_instance_uid)
    shutil.rmtree(series)


@pytest.mark.parametrize(
    ("role", "reasons"),
    [
        (
            Role.AXIAL_T2,
            {CANAL: NotAssessedReason.NO_AXIAL_T2, RECESS: NotAssessedReason.NO_AXIAL_T2},
        ),
        (Role.SAGITTAL_T1, {FORAMINAL: NotAssessedReason.NO_SAGITTAL_T1}),
        (Role.SAGITTAL_T2, {CANAL: NotAssessedReason.NO_SAGITTAL_T2}),
    ],
)
def test_a_missing_series_costs_only_its_targets(
    folder: Path,
    phantom: Phantom,
    quick_bundle: Bundle,
    role: Role,
    reasons: dict[Condition, NotAssessedReason],
) -> None:
    """Without one series its targets say so, and the others are graded."""
    remove(folder, phantom, role)
    report = grade(str(folder), FolderArchive(), quick_bundle).report
    assert len(report.findings) == 25
    for finding in report.not_assessed:
        assert finding.reason is reasons[finding.target.condition]
    assert {f.target.condition for f in report.not_assessed} == set(reasons)
    assert {f.target.condition for f in report.graded} == set(Condition) - set(reasons)


def test_a_series_of_another_space_is_said_to_be_so(
    folder: Path, phantom: Phantom, quick_bundle: Bundle
) -> None:
    """Axial slices half a metre away are no missing series: the reason tells them apart."""
    (series,) = folder.rglob(phantom.of(Role.AXIAL_T2).series_instance_uid)
    for file in series.iterdir():
        dataset = dcmread(file)
        dataset.FrameOfReferenceUID = "2.25.5"
        dataset.ImagePositionPatient[2] += 500
        dataset.save_as(file)
    report = grade(str(folder), FolderArchive(), quick_bundle).report
    assert {f.reason for f in report.not_assessed} == {NotAssessedReason.NOT_SAME_SPACE}
    assert {f.target.condition for f in report.graded} == {FORAMINAL}


def test_one_corrupt_slice_is_told_and_the_rest_graded(
    folder: Path, phantom: Phantom, quick_bundle: Bundle
) -> None:
    """A file cut in half among good ones is recorded; grading goes on without it."""
    (series,) = folder.rglob(phantom.of(Role.AXIAL_T2).series_instance_uid)
    victim = sorted(series.iterdir())[0]
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    result = grade(str(folder), FolderArchive(), quick_bundle)
    assert any(repair.kind is RepairKind.UNREADABLE for repair in result.repairs)
    assert len(result.report.graded) >= 20


def test_a_lumbar_study_with_nothing_to_grade_gets_a_report_that_says_so(
    folder: Path, quick_bundle: Bundle
) -> None:
    """Three slices of each series: 25 times "not assessed", in an SR that is read back equal."""
    for series in {file.parent for file in folder.rglob("*.dcm")}:
        for file in sorted(series.iterdir())[3:]:
            file.unlink()
    left = len(list(folder.rglob("*.dcm")))
    graded = grade(str(folder), FolderArchive(), quick_bundle)
    assert graded.report.graded == ()
    unusable = NotAssessedReason.SERIES_UNUSABLE
    assert {f.reason for f in graded.report.not_assessed} == {unusable}
    document = structured_report(graded)
    assert read(document) == graded.report
    (study,) = document.CurrentRequestedProcedureEvidenceSequence
    listed = sum(len(series.ReferencedSOPSequence) for series in study.ReferencedSeriesSequence)
    assert listed == left


@pytest.mark.parametrize("content", [None, b"hello", b"\0" * 128 + b"DICM" + b"\xff" * 64])
def test_a_folder_without_a_study_is_rejected(
    tmp_path: Path, quick_bundle: Bundle, content: bytes | None
) -> None:
    """Nothing, a text file, or a broken DICOM file: one clear error of ours, never another."""
    if content is not None:
        (tmp_path / "file.dcm").write_bytes(content)
    with pytest.raises(LumbarError) as error:
        grade(str(tmp_path), FolderArchive(), quick_bundle)
    assert isinstance(error.value, Rejected)
    assert "\n" not in str(error.value)


def test_every_series_is_routed_or_rejected(folder: Path, quick_bundle: Bundle) -> None:
    """Nothing vanishes: routed and rejected series together are all series."""
    routed = grade(str(folder), FolderArchive(), quick_bundle).routed
    every = {series.series_instance_uid for series in routed.study.series}
    decided = [d.series_instance_uid for d in (*routed.routed, *routed.rejected)]
    assert sorted(decided) == sorted(every)
