"""Attributes as exporters write them: converted, dummy, with commas, without a preamble."""

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from worker.archive.folder import FolderArchive
from worker.archive.orthanc_tags import header_from_tags
from worker.domain.study import Instance, Unreadable
from worker.errors import BrokenStudy
from worker.intake.acquisition import echo_time_ms, read_acquisition
from worker.intake.decoding import decode, read_header
from worker.intake.exclusions import exclude
from worker.intake.headers import read_study
from worker.intake.routing import route

PIXELS = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) % 4096


def item(**attributes):
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def test_unassigned_converted_attributes_are_read():
    """A frame's own precede the shared ones, and both the lack of any."""
    shared = item(
        UnassignedSharedConvertedAttributesSequence=Sequence(
            [item(EchoTime="9", RepetitionTime="550", ContrastBolusAgent="Gadovist")]
        )
    )
    frame = item(UnassignedPerFrameConvertedAttributesSequence=Sequence([item(EchoTime="11")]))
    header = item(SharedFunctionalGroupsSequence=Sequence([shared]), Modality="MR")
    found = read_acquisition(header, frame)
    assert (found.echo_time_ms, found.repetition_time_ms) == (11, 550)
    assert found.contrast_agent == "Gadovist"
    assert echo_time_ms(header, Dataset()) == 9


@pytest.mark.parametrize(
    ("changes", "excluded"),
    [
        ({"PatientBirthDate": "20240517", "PatientAge": "061Y"}, False),
        ({"PatientBirthDate": "20240517", "PatientAge": "012Y"}, True),
        ({"PatientBirthDate": "20240517"}, True),
        ({"PatientBirthDate": "20120517", "PatientAge": "061Y"}, True),
    ],
)
def test_a_birth_date_on_the_day_of_the_study_is_a_dummy(make_series, changes, excluded):
    """Only where an adult age is stated."""
    series = make_series(
        "sagittal", "1.2.3.1", SeriesDescription="sag T2", StudyDate="20240517", **changes
    )
    assert bool(exclude(route(read_study(series))).exclusions) is excluded


def with_comma(content: bytes) -> bytes:
    """A file whose Pixel Spacing has decimal commas."""
    assert b"4.375\\4.375" in content
    return content.replace(b"4.375\\4.375", b"4,375\\4,375")


def test_decimal_commas_are_read(make_slice, to_bytes):
    """From files and from Orthanc's tags."""
    header = read_header("k", with_comma(to_bytes(make_slice(), PIXELS)))
    assert isinstance(header, Instance)
    (series,) = read_study([header]).series
    assert series.slices[0].plane.row_spacing_mm == 4.375
    tags = header_from_tags({"0028,0030": "4,375\\4,375", "0018,0081": "101,5"})
    assert list(map(float, tags.PixelSpacing)) == [4.375, 4.375]
    assert float(tags.EchoTime) == 101.5


def test_several_commas_are_no_number(make_slice, to_bytes):
    """What is ambiguous is named instead."""
    content = to_bytes(make_slice(), PIXELS).replace(b"4.375\\4.375", b"4,37,\\4,37,")
    header = read_header("k", content)
    assert isinstance(header, Instance)
    (series,) = read_study([header]).series
    assert (series.unplaced, series.why_unplaced) == (1, "Pixel Spacing")


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("meta", [True, False], ids=["meta", "no meta"])
def test_files_without_preamble_are_read(make_slice, tmp_path, syntax, meta):
    """In a folder, headers and pixels alike."""
    from io import BytesIO

    from pydicom.dataset import FileMetaDataset

    dataset = make_slice()
    dataset.PixelData = PIXELS.tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    content = buffer.getvalue()[132:]
    if not meta:
        content = content[12 + int.from_bytes(content[8:12], "little") :]
    path = tmp_path / "IM0001"
    path.write_bytes(content)
    (found,) = FolderArchive().headers(str(tmp_path))
    assert isinstance(found, Instance)
    assert np.array_equal(decode("k", content)[0], PIXELS)


def test_text_that_is_no_dicom_is_not_taken_for_it(tmp_path):
    """A file of another kind is still ignored, and a broken one named by its error."""
    (tmp_path / "notes").write_bytes(b"\\x08 is the first byte of this text, not more")
    assert not FolderArchive().headers(str(tmp_path))
    with pytest.raises(BrokenStudy, match=r"\(InvalidDicomError\); check the system"):
        read_study([Unreadable("k", "InvalidDicomError")])
