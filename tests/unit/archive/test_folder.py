"""The folder adapter: what it reads, ignores, stores and gives back."""

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from worker.archive.folder import FolderArchive
from worker.errors import ArchiveUnavailable, StudyGone
from worker.nouns.study import Instance, Unreadable


def image(uid="1.2.3.4"):
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, uid
    dataset.Rows = dataset.Columns = 2
    dataset.PixelData = np.zeros((2, 2), np.uint16).tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    image().save_as(tmp_path / "deep" / "er" / "IM0001", enforce_file_format=True)
    (tmp_path / "broken.dcm").write_bytes(b"broken")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    for name in ("truth.json", "notes.csv", "Thumbs.db"):
        (tmp_path / name).write_text("no image")
    return tmp_path


def test_only_what_looks_like_dicom_is_read(folder):
    """Subfolders are read, a broken .dcm is reported, everything else is left alone."""
    broken, good = FolderArchive().headers(str(folder))
    assert broken == Unreadable(str(folder / "broken.dcm"), "InvalidDicomError")
    assert isinstance(good, Instance)
    assert "PixelData" not in good.header


def test_a_single_file_is_a_study(folder):
    """A path to one file stands for the study that it is."""
    (found,) = FolderArchive().headers(str(folder / "deep" / "er" / "IM0001"))
    assert isinstance(found, Instance)


def test_a_missing_path_is_gone(tmp_path):
    """A path that does not exist is a study that is gone."""
    with pytest.raises(StudyGone):
        FolderArchive().headers(str(tmp_path / "none"))


def test_fetch_gives_whole_files_and_leaves_out_what_is_gone(folder):
    """Keys of `headers` lead to the bytes of the files."""
    path = folder / "deep" / "er" / "IM0001"
    found = dict(FolderArchive().fetch([str(path), str(folder / "gone")]))
    assert found == {str(path): path.read_bytes()}


def test_what_is_stored_is_given_back_and_storing_twice_changes_nothing(tmp_path):
    """An object comes back equal, from one file however often it is stored."""
    archive = FolderArchive(tmp_path / "out")
    archive.store(image())
    archive.store(image())
    assert archive.stored("any", "1.2.3.4") == image()
    assert archive.stored("any", "1.2.3.5") is None
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1.2.3.4.dcm"]


def test_without_an_output_folder_nothing_is_stored():
    """Storing into no folder is refused with what to do."""
    with pytest.raises(ArchiveUnavailable, match="output folder"):
        FolderArchive().store(image())
