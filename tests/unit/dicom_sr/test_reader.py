"""Reads reports back, and rejects other objects and damaged reports."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from dicom_sr.errors import ReportError
from dicom_sr.findings import Report
from dicom_sr.reader import is_lumbar_report, read
from dicom_sr.writer import write


def test_a_report_comes_back_from_its_file(
    report: Report, written: Dataset, through_bytes: Callable[[Dataset], Dataset]
) -> None:
    """Grades, probabilities, points, frames, reasons and models are all there again."""
    assert read(through_bytes(written)) == report


def test_a_report_without_grades_comes_back(
    nothing_assessed: Report,
    sources: list[Dataset],
    through_bytes: Callable[[Dataset], Dataset],
) -> None:
    """A study of which nothing could be graded has an SR too."""
    sr = write(nothing_assessed, sources, software_version="1", pipeline_version=1, fingerprint="f")
    assert read(through_bytes(sr)) == nothing_assessed


def test_other_peoples_objects_are_refused(written: Dataset, sources: list[Dataset]) -> None:
    """An image, and SRs without the UID of the private coding scheme."""
    foreign = deepcopy(written)
    foreign.CodingSchemeIdentificationSequence[0].CodingSchemeUID = "1.2.3"
    bare = deepcopy(written)
    del bare.CodingSchemeIdentificationSequence
    for other in (sources[0], foreign, bare, Dataset()):
        assert not is_lumbar_report(other)
        with pytest.raises(ReportError, match="not a lumbar report"):
            read(other)
    assert is_lumbar_report(written)


def first_group(sr: Dataset) -> Dataset:
    """The first measurement group."""
    (imaging,) = (
        item for item in sr.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010"
    )
    return imaging.ContentSequence[0]


def test_a_label_that_contradicts_the_codes_is_refused(written: Dataset) -> None:
    """Side, level and grade in the label must equal the codes."""
    first_group(written).ContentSequence[-1].TextValue = "L4/L5 left subarticular stenosis: Severe"
    with pytest.raises(ReportError, match="the label 'L4/L5 left"):
        read(written)


def test_a_severity_that_contradicts_its_probabilities_is_refused(written: Dataset) -> None:
    """The coded severity is the most probable class, or the document was altered."""
    severity = first_group(written).ContentSequence[-2].ConceptCodeSequence[0]
    severity.CodeValue, severity.CodingSchemeDesignator = "24484000", "SCT"
    with pytest.raises(ReportError, match="coded severity 'Severe'"):
        read(written)


def damaged(name: str, written: Dataset) -> None:
    """Take away or spoil one thing that the report cannot do without."""
    group = first_group(written)
    if name == "a group":
        first = group.ContentSequence
        first.clear()
    elif name == "evidence":
        del written.CurrentRequestedProcedureEvidenceSequence
    elif name == "the models":
        del written.ContributingEquipmentSequence[0].DeviceUID
    elif name == "a level":
        group.ContentSequence[3].ConceptCodeSequence[0].CodeValue = "1"
    elif name == "a target":
        written.ContentSequence[-1].ContentSequence.pop()
    elif name == "the tree":
        del written.ContentSequence


@pytest.mark.parametrize(
    "name", ["a group", "evidence", "the models", "a level", "a target", "the tree"]
)
def test_damage_is_refused_in_a_sentence(name: str, written: Dataset) -> None:
    """An incomplete report is rejected, always with ReportError."""
    damaged(name, written)
    with pytest.raises(ReportError, match=r"(invalid|damaged) lumbar report"):
        read(written)


def test_bytes_that_are_no_values_are_refused_in_a_sentence(written: Dataset) -> None:
    """Values are parsed on access, and may be malformed."""
    certainty = next(i for i in first_group(written).ContentSequence if "ContentSequence" in i)
    tag = Tag("GraphicData")
    certainty.ContentSequence[0][tag] = RawDataElement(tag, "FL", 3, b"abc", 0, False, True)
    with pytest.raises(ReportError, match="damaged lumbar report"):
        read(written)


def test_coding_schemes_that_are_none_make_no_lumbar_report(written: Dataset) -> None:
    """`is_lumbar_report` does not raise, however broken the header is."""
    tag = Tag("CodingSchemeIdentificationSequence")
    written[tag] = DataElement(tag, "LO", "99LUMBAR")
    assert not is_lumbar_report(written)
