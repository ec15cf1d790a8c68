"""The folder adapter: what it reads, ignores, stores and gives back."""

import os
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from worker.archive.folder import FolderArchive
from worker.domain.study import Instance, Unreadable
from worker.errors import ArchiveUnavailable


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


def test_nothing_waits_for_a_pipe(folder):
    """A pipe in the folder, whatever its name, is no file and is not opened; a loop is reported."""
    os.mkfifo(folder / "pipe.dcm")
    os.mkfifo(folder / "pipe")
    (folder / "loop.dcm").symlink_to("loop.dcm")
    assert [Path(i.key).name for i in FolderArchive().headers(str(folder))] == [
        "broken.dcm",
        "loop.dcm",
        "IM0001",
    ]


def test_a_single_file_is_a_study(folder):
    """A path to one file stands for the study that it is."""
    (found,) = FolderArchive().headers(str(folder / "deep" / "er" / "IM0001"))
    assert isinstance(found, Instance)


def test_however_often_it_is_stored_there_is_one_file(tmp_path):
    """An object lies in the output folder once, under its SOP Instance UID."""
    archive = FolderArchive(tmp_path / "out")
    archive.store(image())
    archive.store(image())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1.2.3.4.dcm"]


def test_without_an_output_folder_nothing_is_stored():
    """Storing into no folder is refused with what to do."""
    with pytest.raises(ArchiveUnavailable, match="output folder"):
        FolderArchive().store(image())
