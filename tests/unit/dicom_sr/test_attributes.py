"""Values of attributes: what is absent or malformed counts as absent."""

from __future__ import annotations

import pytest
from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from dicom_sr import attributes


@pytest.fixture
def header() -> Dataset:
    """Whole, empty, malformed and binary values."""
    ds = Dataset()
    ds.ImageType = ["original", " PRIMARY "]
    ds.PixelSpacing = [0.5, 0.25]
    ds.EchoTime = "90.5"
    ds.EchoTrainLength = 17
    ds.RepetitionTime = None
    ds.add(DataElement(Tag("EncapsulatedDocument"), "OB", b"abc"))
    for keyword, vr, value in (
        ("FlipAngle", "DS", b"abc "),
        ("GraphicData", "FL", b"abc"),
        ("InversionTime", "DS", b"inf "),
        ("Rows", "US", b"\x01"),
    ):
        tag = Tag(keyword)
        ds[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    return ds


@pytest.mark.parametrize("keyword", ["RepetitionTime", "GraphicData", "Rows", "PatientName"])
def test_absent_empty_and_malformed_values_count_as_absent(header: Dataset, keyword: str) -> None:
    """No function raises, and each returns its empty value."""
    assert attributes.values(header, keyword) == ()
    assert attributes.text(header, keyword) == ""
    assert attributes.texts(header, keyword) == ()
    assert attributes.numbers(header, keyword) == ()
    assert attributes.number(header, keyword) is None
    assert attributes.integer(header, keyword) is None
    assert attributes.vector(header, keyword, 2) is None
    assert attributes.items(header, keyword) == ()
    assert attributes.item(header, keyword) == Dataset()


def test_texts_are_stripped(header: Dataset) -> None:
    """`text` joins the values as DICOM does, `texts` compares like code strings."""
    assert attributes.text(header, "ImageType") == "original\\PRIMARY"
    assert attributes.texts(header, "ImageType") == ("ORIGINAL", "PRIMARY")
    assert attributes.text(header, "EncapsulatedDocument") == ""


def test_numbers_are_read_from_any_representation(header: Dataset) -> None:
    """The first as a number or a whole number, or exactly as many as asked for."""
    assert attributes.number(header, "EchoTime") == 90.5
    assert attributes.integer(header, "EchoTime") is None
    assert attributes.integer(header, "EchoTrainLength") == 17
    assert attributes.vector(header, "PixelSpacing", 2) == (0.5, 0.25)
    assert attributes.vector(header, "PixelSpacing", 3) is None
    assert attributes.number(header, "ImageType") is None
    assert attributes.number(header, "FlipAngle") is None
    assert attributes.numbers(header, "FlipAngle") == ()


def test_infinity_is_a_number_only_where_all_are_asked_for(header: Dataset) -> None:
    """`numbers` keeps it, because the checks report it; every other function refuses it."""
    assert attributes.numbers(header, "InversionTime") == (float("inf"),)
    assert attributes.number(header, "InversionTime") is None
    assert attributes.integer(header, "InversionTime") is None
    assert attributes.vector(header, "InversionTime", 1) is None


def test_a_frame_group_precedes_the_shared_one() -> None:
    """A functional group is the frame's own, else the shared one, else empty."""
    own, shared, group = Dataset(), Dataset(), Dataset()
    own.PixelSpacing, shared.PixelSpacing = [1, 1], [2, 2]
    header, frame = Dataset(), Dataset()
    group.PixelMeasuresSequence = [shared]
    header.SharedFunctionalGroupsSequence = [group]
    keyword = "PixelMeasuresSequence"
    assert attributes.functional_group(header, frame, keyword) == shared
    frame.PixelMeasuresSequence = [own]
    assert attributes.functional_group(header, frame, keyword) == own
    assert attributes.functional_group(header, frame, "MREchoSequence") == Dataset()
