"""Repair of headers: what is repaired, what is never guessed, and the record of repairs."""

import random

import pytest
from pydicom import dcmread
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage

from dicom_sr.uids import derived_instance_uid
from worker.domain.study import Instance, RepairKind
from worker.errors import BadSettings, NotLumbar
from worker.intake.headers import read_study
from worker.intake.repair import repair_headers
from worker.intake.repaired_copy import repair_folder

BARE = {"SOPClassUID": None, "Modality": None}


def kinds(repairs):
    return {repair.kind for repair in repairs}


def test_a_bare_export_becomes_mr_image_storage(make_series):
    """Without SOP class, frames and modality an image is MR Image Storage of modality MR."""
    repaired, repairs = repair_headers(make_series("sagittal", "1.2.3.1", **BARE))
    assert {i.header.SOPClassUID for i in repaired} == {MRImageStorage}
    assert {i.header.Modality for i in repaired} == {"MR"}
    assert kinds(repairs) >= {RepairKind.SOP_CLASS, RepairKind.MODALITY, RepairKind.TYPE_2}
    assert {repair.instances for repair in repairs} == {15}


@pytest.mark.parametrize(
    "changes", [{"NumberOfFrames": 1}, {"Modality": "CT"}, {"Rows": None, "Columns": None}]
)
def test_nothing_else_is_taken_for_mr(make_slice, changes):
    """Frames, another modality or no pixels: the missing SOP class stays missing."""
    header = make_slice(**{"SOPClassUID": None, **changes})
    (repaired,), repairs = repair_headers([Instance("k", header)])
    assert "SOPClassUID" not in repaired.header
    assert RepairKind.SOP_CLASS not in kinds(repairs)


def test_colliding_uids_are_derived_in_every_series(make_series):
    """All instances of a UID met in two series change, so that file order does not matter."""
    shared = {"SOPInstanceUID": "1.2.3.7"}
    one = make_series("sagittal", "1.2.3.1", 1, **shared)
    two = make_series("axial", "1.2.3.2", 1, **shared)
    alone = make_series("axial", "1.2.3.3", 1)
    repaired, _ = repair_headers(one + two + alone)
    assert [i.header.SOPInstanceUID for i in repaired] == [
        derived_instance_uid("1.2.3.1", "1.2.3.7"),
        derived_instance_uid("1.2.3.2", "1.2.3.7"),
        "1.2.3.3.1",
    ]
    assert repair_headers(two + one)[0][1].header == repaired[0].header


def test_type_2_is_filled_empty_and_type_1_never_invented(make_slice):
    """Empty values for what may be empty; ImageType and ScanningSequence stay absent."""
    (repaired,), _ = repair_headers([Instance("k", make_slice())])
    assert repaired.header["PatientName"].is_empty
    assert repaired.header["EchoTime"].is_empty
    assert "ImageType" not in repaired.header
    assert "ScanningSequence" not in repaired.header


def test_repairing_twice_repairs_nothing_more(make_series):
    """A repaired study needs no further repair, and the given headers are unchanged."""
    instances = make_series("sagittal", "1.2.3.1", **BARE)
    before = [instance.header.to_json() for instance in instances]
    repaired, _ = repair_headers(instances)
    again, repairs = repair_headers(repaired)
    assert repairs == ()
    assert [i.header for i in again] == [i.header for i in repaired]
    assert [instance.header.to_json() for instance in instances] == before


@pytest.fixture
def exported(tmp_path, make_slice, to_bytes):
    """A folder as a bad export writes it: UIDs repeat, file meta lies, one file is rubbish."""
    import numpy as np

    source = tmp_path / "in"
    for folder, plane in (("b", "sagittal"), ("a", "axial")):
        (source / folder).mkdir(parents=True)
        for k in range(5):
            header = make_slice(
                plane, k, f"1.2.3.{folder == 'a':d}", SOPInstanceUID=f"1.2.3.9.{k}", **BARE
            )
            header.SOPClassUID = EnhancedMRImageStorage  # for the file meta alone
            file = to_bytes(header, np.full((64, 64), k, np.uint16))
            path = source / folder / f"{4 - k}.dcm"
            path.write_bytes(file)
            dataset = dcmread(path)
            del dataset.SOPClassUID
            dataset.save_as(path, enforce_file_format=False)
    (source / "a" / "rubbish.dcm").write_bytes(b"rubbish")
    (source / "truth.json").write_text("{}")
    return source


def test_the_repaired_copy_is_consistent_and_has_no_patient_names(exported, tmp_path):
    """File meta agrees with the data set, names count series and images, pixels are kept."""
    calls = []
    out = tmp_path / "out"
    repairs = repair_folder(exported, out, lambda done, total: calls.append((done, total)))
    names = sorted(path.name for path in out.iterdir())
    assert names == [f"{s:02}-{i:04}.dcm" for s in (1, 2) for i in range(1, 6)]
    for name in names:
        dataset = dcmread(out / name)
        assert dataset.file_meta.MediaStorageSOPClassUID == dataset.SOPClassUID == MRImageStorage
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert (dataset.pixel_array == int(name[3:7]) - 1).all()
    assert calls[-1] == (10, 10)
    assert [r.instances for r in repairs if r.kind is RepairKind.UNREADABLE] == [1]


def test_reading_the_copy_equals_reading_the_original(exported, tmp_path):
    """Repair on the way in and repair on disk give the same study."""
    from worker.archive.folder import FolderArchive

    repair_folder(exported, tmp_path / "out")
    original = read_study(FolderArchive().headers(str(exported)))
    copy = read_study(FolderArchive().headers(str(tmp_path / "out")))
    assert {s.series_instance_uid: {h.image for h in s.slices} for s in original.series} == {
        s.series_instance_uid: {h.image for h in s.slices} for s in copy.series
    }


def test_the_copy_goes_into_a_new_folder_outside_the_source(exported, tmp_path):
    """A folder with files, or one within the source, is refused before anything is written."""
    for destination in (exported, exported / "a" / "new"):
        with pytest.raises(BadSettings):
            repair_folder(exported, destination)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotLumbar):
        repair_folder(tmp_path / "empty", tmp_path / "out")


@pytest.mark.parametrize("study", ["train_images/1002894806", "test_images/44036939"])
def test_the_real_studies_are_repaired(real_data, study):
    """Every object of both real exports has an SOP class, a modality and a UID of its own."""
    from worker.archive.folder import FolderArchive

    found = list(FolderArchive().headers(str(real_data / "rsna_2024" / study)))
    repaired, repairs = repair_headers(found)
    assert len({i.header.SOPInstanceUID for i in repaired}) == len(repaired)
    assert {i.header.SOPClassUID for i in repaired} == {MRImageStorage}
    shuffled = random.Random(1).sample(found, len(found))
    assert set(repair_headers(shuffled)[1]) == set(repairs)
