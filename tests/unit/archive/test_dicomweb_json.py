"""The DICOM JSON model, turned back into a header."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from worker.archive.dicomweb_json import header_from_json
from worker.intake.decoding import MAX_NESTING

NAMES = st.sampled_from(
    ["00080060", "00180081", "00189087", "00200032", "00280010", "00280106", "00280009",
     "00081140", "00091001", "7FE00010", "00020010", "FFFEE000", "00100010", "00101030",
     "52009230", "7fe00010", "Rows", "", "-1", "100000000"]
)  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.just({"Alphabetic": "A^B"}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
VRS = st.sampled_from(["US", "SS", "DS", "IS", "FD", "SQ", "PN", "AT", "OW", "UN", "??", ""])
ATTRIBUTES = st.fixed_dictionaries(
    {}, optional={"vr": VRS | JSON, "Value": JSON, "BulkDataURI": JSON, "InlineBinary": JSON}
)


@settings(deadline=None)
@example({"7FE00010": {"vr": "US"}})
@given(JSON | st.dictionaries(NAMES, JSON | ATTRIBUTES))
def test_no_answer_is_too_odd(attributes):
    """Whatever a server says, what can be read is read and can be asked for, pixels never."""
    header = header_from_json(attributes)
    assert "PixelData" not in header
    assert not any(element.tag.is_private or element.tag.group < 8 for element in header)
    for element in header.iterall():
        assert element.value is element.value


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        ("00280010", "US", "many"),
        ("00280010", "US", 2.5),
        ("00280010", "US", {"a": 1}),
        ("00181314", "DS", "steep"),
        ("00200013", "IS", True),
        ("00189087", "FD", "far"),
        ("00280009", "AT", "nowhere"),
        ("00080060", "CS", 5),
        ("00100010", "PN", ["A", "B"]),
    ],
)
def test_a_value_that_breaks_its_vr_is_left_out(tag, vr, value):
    """An attribute that cannot be what it should be counts as absent, and costs no other."""
    rows = {"00280011": {"vr": "US", "Value": [7]}}
    header = header_from_json({tag: {"vr": vr, "Value": [value]}} | rows)
    assert [element.keyword for element in header] == ["Columns"]


def test_the_dictionary_knows_better_than_the_server():
    """A VR that is not the attribute's own is not believed; one that depends on pixels is."""
    header = header_from_json(
        {
            "0008103E": {"vr": "UN", "Value": ["T2 sag"]},
            "00280106": {"vr": "SS", "Value": [-5]},
        }
    )
    assert (header["SeriesDescription"].VR, header.SeriesDescription) == ("LO", "T2 sag")
    assert (header["SmallestImagePixelValue"].VR, header.SmallestImagePixelValue) == ("SS", -5)


def test_bulk_data_is_left_out():
    """Neither pixels in the text nor addresses of them become values."""
    header = header_from_json(
        {
            "7FE00010": {"vr": "OW", "BulkDataURI": "http://elsewhere/pixels"},
            "00080008": {"vr": "CS", "BulkDataURI": "http://elsewhere/type"},
            "00282000": {"vr": "OB", "InlineBinary": "AAAA"},
        }
    )
    assert not list(header)


def test_decimals_keep_to_their_length():
    """A number with more digits than DS holds can still be written (PS3.5 6.2)."""
    header = header_from_json({"00200032": {"vr": "DS", "Value": [-0.1234567890123456, 1, "2.50"]}})
    assert [len(str(value)) <= 16 for value in header.ImagePositionPatient] == [True] * 3
    assert header.ImagePositionPatient == pytest.approx([-0.1234567890123456, 1, 2.5])


def test_names_and_nested_items_come_back():
    """The parts of a name are joined (PS3.18 F.2.2), items keep their order, empty ones too."""
    header = header_from_json(
        {
            "00100010": {
                "vr": "PN",
                "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}],
            },
            "52009230": {
                "vr": "SQ",
                "Value": [
                    {"00209113": {"vr": "SQ", "Value": [{"00200032": {"vr": "DS", "Value": [1]}}]}},
                    {},
                ],
            },
        }
    )
    assert header.PatientName == "Yamada^Tarou=山田^太郎"
    assert header.SpecificCharacterSet == "ISO_IR 192"
    first, second = header.PerFrameFunctionalGroupsSequence
    assert first.PlanePositionSequence[0].ImagePositionPatient == 1
    assert not list(second)


def test_endless_sequences_end():
    """Items nested 900 deep are cut off where no patient's report needs more."""
    nested = {"vr": "SQ", "Value": []}
    for _ in range(900):
        nested = {"vr": "SQ", "Value": [{"0040A730": nested}]}
    header = header_from_json({"0040A730": nested, "00280010": {"vr": "US", "Value": [7]}})
    assert header.Rows == 7
    assert sum(1 for _ in header.iterall()) <= MAX_NESTING + 2
