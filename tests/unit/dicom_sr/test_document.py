"""The modules around the content tree: patient, study, evidence, equipment, flags."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from pydicom import DataElement, Dataset, Sequence, dcmread, dcmwrite
from pydicom.datadict import tag_for_keyword
from pydicom.uid import ComprehensiveSRStorage

from dicom_sr.errors import ReportError
from dicom_sr.findings import Report
from dicom_sr.writer import write


def test_the_same_study_gives_the_same_bytes(
    report: Report,
    sources: list[Dataset],
    written: Dataset,
    fingerprint: str,
    encoded: Callable[[Dataset], bytes],
) -> None:
    """Grading twice, with the files in another order, writes the same file."""
    again = write(
        report, sources[::-1], software_version="0.1.0", pipeline_version=1, fingerprint=fingerprint
    )
    assert encoded(again) == encoded(written)


def test_the_report_belongs_to_its_patient_and_study(
    written: Dataset, through_bytes: Callable[[Dataset], Dataset]
) -> None:
    """Viewers group by these: a difference would show the SR under another patient."""
    sr = through_bytes(written)
    assert str(sr.PatientName) == "Müller^Jörg"
    assert (sr.PatientID, sr.PatientBirthDate, sr.PatientSex) == ("P-1", "19600102", "M")
    assert sr.StudyInstanceUID == "1.2.3.44036939"
    assert (sr.StudyDate, sr.StudyTime, sr.StudyID) == ("20240501", "101500", "7")
    assert sr.AccessionNumber == "A-9"


def test_it_says_what_it_is(written: Dataset) -> None:
    """An unverified, preliminary, complete SR in a research series behind the images."""
    assert written.SOPClassUID == ComprehensiveSRStorage
    assert written.Modality == "SR"
    assert written.SeriesDescription == "Lumbar AI 0.1.0 (research)"
    assert written.SeriesNumber == 9000
    flags = written.CompletionFlag, written.VerificationFlag, written.PreliminaryFlag
    assert flags == ("COMPLETE", "UNVERIFIED", "PRELIMINARY")


def test_every_source_is_evidence_in_its_series(written: Dataset, sources: list[Dataset]) -> None:
    """Each image of the routed series once, under its own series, with its SOP class."""
    (study,) = written.CurrentRequestedProcedureEvidenceSequence
    listed = [
        (s.SeriesInstanceUID, i.ReferencedSOPInstanceUID, i.ReferencedSOPClassUID)
        for s in study.ReferencedSeriesSequence
        for i in s.ReferencedSOPSequence
    ]
    assert sorted(listed) == sorted(
        (h.SeriesInstanceUID, h.SOPInstanceUID, h.SOPClassUID) for h in sources
    )


def test_the_models_are_named_as_equipment(written: Dataset, report: Report) -> None:
    """IHE AIR asks for the Device UID that changes with every retraining."""
    (item,) = written.ContributingEquipmentSequence
    assert item.DeviceUID == report.bundle.device_uid
    assert item.DeviceSerialNumber == report.bundle.sha256


def test_private_codes_are_declared(written: Dataset) -> None:
    """A reader finds out whose codes 99LUMBAR are."""
    (item,) = written.CodingSchemeIdentificationSequence
    assert item.CodingSchemeDesignator == "99LUMBAR"
    assert item.CodingSchemeResponsibleOrganization


def test_dates_are_those_of_the_last_image(report: Report, sources: list[Dataset]) -> None:
    """No clock is read: the last image's date and time, and a date where none is legal."""
    sources[2].ContentDate, sources[2].ContentTime = "20240502", "080000"
    sr = write(report, sources, software_version="1", pipeline_version=1, fingerprint="f")
    assert (sr.ContentDate, sr.ContentTime) == ("20240502", "080000")
    for header in sources:
        header.ContentDate, header.ContentTime, header.StudyDate = "", "", "2024"
    sr = write(report, sources, software_version="1", pipeline_version=1, fingerprint="f")
    assert (sr.ContentDate, sr.ContentTime) == ("19000101", "000000")


def test_bare_research_headers_are_enough(
    report: Report, sources: list[Dataset], through_bytes: Callable[[Dataset], Dataset]
) -> None:
    """Missing type 2 attributes stand empty; one image that has a value speaks for all."""
    kept = {"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"}
    kept |= {"Rows", "Columns", "NumberOfFrames"}
    for header in sources:
        for element in list(header):
            if element.keyword not in kept:
                del header[element.tag]
    sources[4].PatientID = "44036939"
    sr = through_bytes(
        write(report, sources, software_version="1", pipeline_version=1, fingerprint="f")
    )
    assert sr.PatientID == "44036939"
    for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"):
        assert keyword in sr
        assert not sr[keyword].value
    for keyword in ("ReferringPhysicianName", "StudyID", "AccessionNumber"):
        assert keyword in sr


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        ("ISO_IR 192", "Иванов^Иван"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
    ],
)
def test_names_in_any_script_survive(
    character_set: list[str] | str,
    name: str,
    report: Report,
    sources: list[Dataset],
    through_bytes: Callable[[Dataset], Dataset],
) -> None:
    """The name is the source's, also where the sources mix character sets."""
    for header in sources:
        header.SpecificCharacterSet, header.PatientName = character_set, name
    headers = [through_source(header) for header in sources]
    sr = through_bytes(
        write(report, headers, software_version="1", pipeline_version=1, fingerprint="f")
    )
    assert str(sr.PatientName) == name
    assert sr.SpecificCharacterSet == character_set

    headers[-1].SpecificCharacterSet = "ISO_IR 100"
    sr = through_bytes(
        write(report, headers, software_version="1", pipeline_version=1, fingerprint="f")
    )
    assert str(sr.PatientName) == name


def through_source(header: Dataset) -> Dataset:
    """A header as pydicom reads it from a file: its texts still undecoded bytes."""

    file = BytesIO()
    dcmwrite(file, header, implicit_vr=False, little_endian=True)
    file.seek(0)
    return dcmread(file, force=True)


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("PatientSex", "CS", "\ufffd"),
        ("PatientAge", "AS", "Ж17"),
        ("StudyDate", "DA", "٢٠٢٤٠٥٠١"),
        ("StudyTime", "TM", "\ufffd"),
        ("PatientID", "US", "Ж"),
        ("StudyID", "IS", [2**70, "\ufffd"]),
        ("PatientWeight", "FD", "heavy"),
        ("ProcedureCodeSequence", "SQ", [{"CodingSchemeVersion": ("CS", "\ufffd")}]),
    ],
)
def test_a_value_that_cannot_be_written_is_not_copied(
    keyword: str,
    vr: str,
    value: Any,
    report: Report,
    sources: list[Dataset],
    through_bytes: Callable[[Dataset], Dataset],
) -> None:
    """What pydicom reads and cannot encode counts as absent; the next image's value is taken."""
    good = sources[1].get(keyword)
    sources[0].add(element(keyword, vr, value))
    sr = through_bytes(
        write(report, sources, software_version="1", pipeline_version=1, fingerprint="f")
    )
    assert sr.get(keyword) == good


def element(keyword: str, vr: str, value: Any) -> DataElement:
    """An element that no rule of its VR was asked about."""
    if vr == "SQ":
        items = [Dataset() for _ in value]
        for item, nested in zip(items, value, strict=True):
            for name, content in nested.items():
                item.add(element(name, *content))
        value = Sequence(items)
    made = DataElement(tag_for_keyword(keyword) or 0, vr, None)
    made._value = value
    return made


def test_an_unknown_character_set_is_replaced(
    report: Report, sources: list[Dataset], through_bytes: Callable[[Dataset], Dataset]
) -> None:
    """The names that were read are written in UTF-8 where the sources' set is none."""
    for header in sources:
        header.add(element("SpecificCharacterSet", "CS", "\ufffd\0"))
    sr = through_bytes(
        write(report, sources, software_version="1", pipeline_version=1, fingerprint="f")
    )
    assert (sr.SpecificCharacterSet, str(sr.PatientName)) == ("ISO_IR 192", "Müller^Jörg")


@pytest.mark.parametrize("value", ["Müller^Jörg", "Muller^Jorg", None])
@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_a_uid_that_is_a_name_is_refused_unprinted(
    keyword: str, value: str | None, report: Report, sources: list[Dataset]
) -> None:
    """A source whose UID names nothing ends as ReportError, and the message does not repeat it."""
    sources[0].add(element(keyword, "UI", value))
    with pytest.raises(ReportError) as error:
        write(report, sources, software_version="1", pipeline_version=1, fingerprint="f")
    assert not re.search("M.ller", str(error.value))


@pytest.mark.parametrize("number", ["2147483647", "abc", "-5", "", [1, 2]])
def test_a_predecessor_of_any_series_number_is_revised(
    number: Any, report: Report, sources: list[Dataset], written: Dataset
) -> None:
    """The revision gets a series number that DICOM can hold."""
    written.add(element("SeriesNumber", "IS", number))
    names = {"software_version": "1", "pipeline_version": 1, "fingerprint": "other"}
    assert write(report, sources, predecessor=written, **names).SeriesNumber == 9000


def test_orders_and_procedure_steps_are_copied(
    report: Report, sources: list[Dataset], through_bytes: Callable[[Dataset], Dataset]
) -> None:
    """The SR answers the request that the images were made for."""
    request, step = Dataset(), Dataset()
    request.RequestedProcedureID = "RP-3"
    request.RequestedProcedureDescription = "MR LWS für Jörg"
    step.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.3"
    step.ReferencedSOPInstanceUID = "1.2.3.9"
    for header in sources:
        header.RequestAttributesSequence = [request]
        header.ReferencedPerformedProcedureStepSequence = [step]
    headers = [through_source(header) for header in sources]
    headers[0].SpecificCharacterSet = "ISO_IR 192"
    sr = through_bytes(
        write(report, headers, software_version="1", pipeline_version=1, fingerprint="f")
    )
    (order,) = sr.ReferencedRequestSequence
    assert (order.RequestedProcedureID, order.AccessionNumber) == ("RP-3", "A-9")
    assert order.RequestedProcedureDescription == "MR LWS für Jörg"
    assert order.StudyInstanceUID == sr.StudyInstanceUID
    assert sr.ReferencedPerformedProcedureStepSequence[0].ReferencedSOPInstanceUID == "1.2.3.9"


def test_a_revision_is_chained_in_a_series_of_its_own(
    report: Report, sources: list[Dataset], written: Dataset
) -> None:
    """New images give a new instance in a new series that names its predecessor."""
    revised = write(
        report,
        sources,
        software_version="0.1.0",
        pipeline_version=1,
        fingerprint="other",
        predecessor=written,
    )
    assert revised.SOPInstanceUID != written.SOPInstanceUID
    assert revised.SeriesInstanceUID != written.SeriesInstanceUID
    assert revised.SeriesNumber == 9001
    (study,) = revised.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    assert study.StudyInstanceUID == written.StudyInstanceUID
    assert series.SeriesInstanceUID == written.SeriesInstanceUID
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == written.SOPInstanceUID


def test_a_report_does_not_revise_itself(
    report: Report, sources: list[Dataset], written: Dataset, fingerprint: str
) -> None:
    """The same images and models give the same SR: there is no revision to store."""
    with pytest.raises(ReportError, match="the predecessor is this report itself"):
        write(
            report,
            sources,
            software_version="1",
            pipeline_version=1,
            fingerprint=fingerprint,
            predecessor=written,
        )
