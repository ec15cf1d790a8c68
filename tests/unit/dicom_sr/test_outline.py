"""The content tree as people read it."""

from __future__ import annotations

from collections.abc import Callable

from pydicom import Dataset

from dicom_sr.findings import Report
from dicom_sr.outline import outline


def test_the_tree_says_what_stands_where(
    written: Dataset, through_bytes: Callable[[Dataset], Dataset]
) -> None:
    """Relationship, value type, name and value of each kind of item, indented by its depth."""
    lines = list(outline(through_bytes(written)))
    assert lines[0] == "CONTAINER Imaging Measurement Report"
    for line in (
        "  has obs context CODE Observer Type = Device (121007, DCM)",
        "  contains CONTAINER Imaging Measurements",
        "    contains CONTAINER Measurement Group",
        "      contains CODE Severity = Normal/Mild (NORMAL_MILD, 99LUMBAR)",
        "      contains NUM Probability of Normal/Mild = 75.0 %",
        "      contains IMAGE Source of Measurement = 1.2.3.44036939.2.1 frame 1",
        "        inferred from SCOORD Source = POINT 10.75, 21",
        "          selected from IMAGE Source of Measurement = 1.2.3.44036939.1.1",
        "      contains TEXT Comment = L1/L2 spinal canal stenosis: Normal/Mild",
    ):
        assert line in lines


def test_every_finding_has_its_lines(written: Dataset, report: Report) -> None:
    """All 25 targets stand in it: a group with its label, or the reason."""
    lines = [line.strip() for line in outline(written)]
    assert lines.count("contains CONTAINER Measurement Group") == len(report.graded)
    reasons = [line for line in lines if line.startswith("contains CODE Not assessed because")]
    assert len(reasons) == len(report.not_assessed)
    assert all(f.reason.label in line for f, line in zip(report.not_assessed, reasons, strict=True))


def test_a_value_cannot_steer_the_terminal(written: Dataset) -> None:
    """Line ends and escape characters of a foreign text are not printed."""
    comment = next(i for i in written.ContentSequence if i.RelationshipType == "CONTAINS")
    comment.TextValue = "one\r\ntwo\x1b[31m"
    assert "  contains TEXT Comment = one two[31m" in list(outline(written))


def test_what_is_missing_leaves_its_place_empty() -> None:
    """Half an item is shown as far as it goes; a dataset without a tree is one line."""
    sr, item = Dataset(), Dataset()
    item.ValueType, item.RelationshipType = "NUM", "CONTAINS"
    sr.ContentSequence = [item, Dataset()]
    assert list(outline(sr)) == ["?", "  contains NUM", "  ?"]
