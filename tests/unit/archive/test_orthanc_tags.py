"""Orthanc's JSON of tags, turned back into a header."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.archive.orthanc_tags import header_from_tags
from worker.intake.decoding import MAX_NESTING

NAMES = st.sampled_from(
    ["0008,0060", "0018,0081", "0018,9087", "0020,0032", "0028,0010", "0028,0106", "0028,0009",
     "0008,1140", "0009,1001", "7fe0,0010", "0002,0010", "fffe,e000"]
)  # fmt: skip
TAGS = st.dictionaries(
    NAMES,
    st.recursive(
        st.none() | st.text(max_size=20),
        lambda values: st.lists(st.dictionaries(NAMES, values, max_size=3), max_size=2),
        max_leaves=5,
    ),
)


@given(TAGS)
def test_no_value_is_too_odd(tags):
    """Whatever a header holds, what can be read is read and can be asked for, pixels never."""
    header = header_from_tags(tags)
    assert all(f"{e.tag.group:04x},{e.tag.element:04x}" in tags for e in header if e.tag != 0x80005)
    assert "PixelData" not in header
    assert not any(element.tag.is_private for element in header)


def test_ambiguous_value_representations_follow_the_pixels():
    """`US or SS` is signed when the pixels are (PS3.5 annex A)."""
    signed = header_from_tags({"0028,0103": "1", "0028,0106": "-5"})
    unsigned = header_from_tags({"0028,0103": "0", "0028,0106": "5"})
    assert (signed["SmallestImagePixelValue"].VR, signed.SmallestImagePixelValue) == ("SS", -5)
    assert (unsigned["SmallestImagePixelValue"].VR, unsigned.SmallestImagePixelValue) == ("US", 5)


def test_text_with_a_backslash_stays_one_value():
    """In free text a backslash is a letter, in a code string it separates values."""
    header = header_from_tags({"0008,2111": "a\\b", "0008,0008": "ORIGINAL\\PRIMARY"})
    assert header.DerivationDescription == "a\\b"
    assert list(header.ImageType) == ["ORIGINAL", "PRIMARY"]


def test_text_without_a_character_set_can_be_written():
    """Orthanc decodes text by its own default; the header then names a set that can hold it."""
    assert header_from_tags({"0008,103e": "säule"}).SpecificCharacterSet == "ISO_IR 192"
    assert "SpecificCharacterSet" not in header_from_tags({"0008,103e": "spine"})


@pytest.mark.parametrize(
    "odd",
    [
        {"": "1"},
        {"0020,00zz": "1"},
        {"0010,0010": 5},
        {"0018,0081": ["90"]},
        {"0008,1140": "no items"},
        {"0008,1140": ["no item"]},
        {"0008,1140": {"0008,1150": "1.2"}},
    ],
    ids=str,
)
def test_what_orthanc_never_writes_is_left_out(odd):
    """A form that is not Orthanc's costs its own attribute and no other."""
    assert [e.keyword for e in header_from_tags({"0028,0010": "7"} | odd)] == ["Rows"]


@pytest.mark.parametrize("odd", [None, "tags", [{"0028,0010": "7"}]])
def test_what_is_no_object_gives_an_empty_header(odd):
    """Null, text or a list in place of an instance's tags is a header that says nothing."""
    assert not header_from_tags(odd)


def test_endless_sequences_end():
    """Items nested 900 deep are cut off where no patient's report needs more."""
    items = []
    for _ in range(900):
        items = [{"0040,a730": items}]
    header = header_from_tags({"0040,a730": items, "0028,0010": "7"})
    assert header.Rows == 7
    assert sum(1 for _ in header.iterall()) <= MAX_NESTING + 2
