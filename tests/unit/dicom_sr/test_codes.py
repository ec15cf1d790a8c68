"""The table of codes: complete, unambiguous and legal."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from pydicom.sr.coding import Code

from dicom_sr import codes
from dicom_sr.errors import ReportError
from dicom_sr.findings import Condition, Level, NotAssessedReason, Severity, Side

TABLES = {
    Level: codes.LEVELS,
    Side: codes.SIDES,
    Condition: codes.CONDITIONS,
    Severity: codes.SEVERITIES,
    NotAssessedReason: codes.REASONS,
}


@pytest.mark.parametrize(("values", "table"), TABLES.items())
def test_every_value_has_a_unique_code(values: type, table: Mapping) -> None:
    """Each value has a code, no two share one, and the value is found by its code."""
    assert set(table) == set(values)
    assert [codes.value_of(table[value], table) for value in values] == list(values)


def test_levels_and_sides_are_those_of_snomed() -> None:
    """The five disc levels and the two sides, by the values that DICOM lists for them."""
    assert {str(level): code.value for level, code in codes.LEVELS.items()} == {
        "L1/L2": "243920003",
        "L2/L3": "243921004",
        "L3/L4": "243922006",
        "L4/L5": "243923001",
        "L5/S1": "243927000",
    }
    assert codes.SIDES[Side.LEFT].value == "7771000"
    assert codes.SIDES[Side.RIGHT].value == "24028007"


def test_normal_mild_is_never_coded_as_mild() -> None:
    """The merged class has a private code; SNOMED's Mild (255604002) stands nowhere."""
    assert codes.SEVERITIES[Severity.NORMAL_MILD].scheme_designator == codes.PRIVATE_SCHEME
    everything = [code for table in TABLES.values() for code in table.values()]
    assert "255604002" not in {code.value for code in everything}


def test_codes_fit_their_value_representations() -> None:
    """CodeValue and scheme are SH (16 characters), the meaning is LO (64)."""
    listed = [value for value in vars(codes).values() if isinstance(value, Code)]
    listed += [code for table in TABLES.values() for code in table.values()]
    listed += list(codes.PROBABILITIES.values())
    for code in listed:
        assert 1 <= len(code.value) <= 16
        assert 1 <= len(code.scheme_designator) <= 16
        assert 1 <= len(code.meaning) <= 64


def test_reasons_read_as_in_the_report() -> None:
    """A viewer that shows the code's meaning says what the HTML report says."""
    assert {reason: code.meaning for reason, code in codes.REASONS.items()} == {
        reason: reason.label for reason in NotAssessedReason
    }


def test_an_unknown_code_is_named() -> None:
    """A code outside the table is refused by name, also when only its scheme differs."""
    with pytest.raises(ReportError, match="7771000, SRT"):
        codes.value_of(Code("7771000", "SRT", "Left"), codes.SIDES)
