"""Reads a DICOM SR that `writer.write` wrote as a `Report`."""

from __future__ import annotations

from collections.abc import Mapping

from pydicom import Dataset
from pydicom.uid import ComprehensiveSRStorage

from dicom_sr import codes
from dicom_sr.attributes import UNREADABLE, items, text
from dicom_sr.content import label
from dicom_sr.document import bundle_of
from dicom_sr.errors import ReportError
from dicom_sr.findings import (
    Graded,
    ImagePoint,
    ImageReference,
    NotAssessed,
    Probabilities,
    Report,
    Target,
)
from dicom_sr.items import child, children, fraction_of, point_of, value_code
from dicom_sr.targets import FIRST_TARGET_SET, targets_of
from dicom_sr.uids import CODING_SCHEME_UID


def read(dataset: Dataset) -> Report:
    """The report that an SR holds; `read(write(report, ...)) == report`.

    Raises ReportError when the dataset is not a lumbar report, or when the report is damaged
    or contradicts itself.
    """
    if not is_lumbar_report(dataset):
        raise ReportError(
            "not a lumbar report: not a Comprehensive SR with the coding scheme "
            f"{codes.PRIVATE_SCHEME} of Orthanc Lumbar"
        )
    try:
        return _report(dataset)
    except ReportError as error:
        raise ReportError(f"invalid lumbar report: {error}") from error
    except UNREADABLE as error:
        # Attributes that are missing, empty or malformed.
        raise ReportError(f"damaged lumbar report ({type(error).__name__})") from error


def is_lumbar_report(dataset: Dataset) -> bool:
    """Whether a header identifies its object as an SR written by this library."""
    schemes = items(dataset, "CodingSchemeIdentificationSequence")
    return text(dataset, "SOPClassUID") == ComprehensiveSRStorage and any(
        text(scheme, "CodingSchemeUID") == CODING_SCHEME_UID for scheme in schemes
    )


def _report(dataset: Dataset) -> Report:
    series_of = _series_of_sop(dataset)
    groups = children(
        child(dataset, codes.IMAGING_MEASUREMENTS, "CONTAINER"),
        codes.MEASUREMENT_GROUP,
        "CONTAINER",
    )
    graded = [_graded(group, series_of) for group in groups]
    not_assessed = [
        _not_assessed(item)
        for evaluations in children(dataset, codes.QUALITATIVE_EVALUATIONS, "CONTAINER")
        for item in children(evaluations, codes.NOT_ASSESSED, "CODE")
    ]
    return Report(
        study_instance_uid=str(dataset.StudyInstanceUID),
        bundle=bundle_of(dataset),
        findings=(*graded, *not_assessed),
        target_set=_target_set(dataset),
    )


def _target_set(dataset: Dataset) -> str:
    """The name of the target set; reports written before sets had names have the first one."""
    if not any(children(dataset, codes.TARGET_SET, "TEXT")):
        return FIRST_TARGET_SET
    name = str(child(dataset, codes.TARGET_SET, "TEXT").TextValue)
    try:
        targets_of(name)
    except ValueError as error:
        raise ReportError(str(error)) from None
    return name


def _graded(group: Dataset, series_of: Mapping[str, str]) -> Graded:
    certainty = child(group, codes.CERTAINTY, "NUM")
    scoord = child(certainty, codes.SOURCE, "SCOORD")
    shown = child(scoord, codes.SOURCE_OF_MEASUREMENT, "IMAGE")
    graded_on = child(group, codes.SOURCE_OF_MEASUREMENT, "IMAGE")
    finding = Graded(
        target=_target(group),
        probabilities=Probabilities(
            **{
                severity.value: fraction_of(child(group, name, "NUM"))
                for severity, name in codes.PROBABILITIES.items()
            }
        ),
        confidence=fraction_of(certainty),
        point=ImagePoint(_image(shown, series_of), *point_of(scoord)),
        graded_on=_image(graded_on, series_of),
    )
    _check_consistent(group, finding)
    return finding


def _check_consistent(group: Dataset, finding: Graded) -> None:
    """Raise ReportError where the label differs from the codes in side, level or severity."""
    severity = codes.value_of(value_code(child(group, codes.SEVERITY, "CODE")), codes.SEVERITIES)
    text = str(child(group, codes.COMMENT, "TEXT").TextValue)
    if severity is not finding.severity or text != label(finding):
        raise ReportError(
            f"contradiction: codes and probabilities give {label(finding)!r}, "
            f"the label {text!r}, the coded severity {severity.label!r}"
        )


def _not_assessed(item: Dataset) -> NotAssessed:
    return NotAssessed(_target(item), codes.value_of(value_code(item), codes.REASONS))


def _target(parent: Dataset) -> Target:
    site = child(parent, codes.FINDING_SITE, "CODE")
    sides = [
        codes.value_of(value_code(item), codes.SIDES)
        for item in children(site, codes.LATERALITY, "CODE")
    ]
    if len(sides) > 1:
        raise ReportError("a finding site has more than one laterality")
    return Target(
        codes.value_of(value_code(child(parent, codes.FINDING, "CODE")), codes.CONDITIONS),
        codes.value_of(value_code(site), codes.LEVELS),
        sides[0] if sides else None,
    )


def _image(item: Dataset, series_of: Mapping[str, str]) -> ImageReference:
    reference = item.ReferencedSOPSequence[0]
    sop_instance_uid = str(reference.ReferencedSOPInstanceUID)
    if sop_instance_uid not in series_of:
        raise ReportError(f"image {sop_instance_uid} is not listed as evidence of one series")
    frame = reference.get("ReferencedFrameNumber")
    return ImageReference(
        series_of[sop_instance_uid], sop_instance_uid, None if frame is None else int(frame)
    )


def _series_of_sop(dataset: Dataset) -> dict[str, str]:
    """The series of every image listed as evidence in exactly one series."""
    listed: dict[str, set[str]] = {}
    for study in dataset.CurrentRequestedProcedureEvidenceSequence:
        for series in study.ReferencedSeriesSequence:
            for instance in series.ReferencedSOPSequence:
                sop = str(instance.ReferencedSOPInstanceUID)
                listed.setdefault(sop, set()).add(str(series.SeriesInstanceUID))
    return {sop: series.pop() for sop, series in listed.items() if len(series) == 1}
