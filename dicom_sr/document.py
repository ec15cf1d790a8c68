"""The modules of the Comprehensive SR IOD (PS3.3 A.35.3) except for the content tree.

Patient, study, requests and procedure steps are copied from the source images. Dates and
times also come from them, so that writing a report twice gives the same bytes.
"""

from __future__ import annotations

import re
from copy import deepcopy
from itertools import groupby
from typing import Final

from pydicom import DataElement, Dataset
from pydicom.charset import python_encoding
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.uid import UID, ComprehensiveSRStorage, ExplicitVRLittleEndian

from dicom_sr import codes, uids
from dicom_sr.attributes import UNREADABLE
from dicom_sr.content import MANUFACTURER
from dicom_sr.errors import ReportError
from dicom_sr.findings import BundleIdentity
from dicom_sr.sources import Sources

FIRST_SERIES_NUMBER: Final = 9000

_TYPE_2: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
_OPTIONAL: Final = (
    "IssuerOfPatientID",
    "TypeOfPatientID",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "StudyDescription",
    "ProcedureCodeSequence",
    "IssuerOfAccessionNumberSequence",
    "TimezoneOffsetFromUTC",
)
_ORDER_TYPE_2: Final = (
    "AccessionNumber",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
    "ReferencedStudySequence",
)
_MOMENTS: Final = ("Content", "Acquisition", "Series", "Study")
_DATE: Final = re.compile(r"[0-9]{8}")
_TIME: Final = re.compile(r"[0-9]{2}([0-9]{2}([0-9]{2}(\.[0-9]{1,6})?)?)?")
_UTF_8: Final = "ISO_IR 192"


def patient_and_study(sources: Sources) -> Dataset:
    """Patient, General Study and Patient Study modules, copied from the sources.

    Each attribute is the first non-empty value, because research exports drop attributes of
    single images; type 2 attributes without a value are empty.
    """
    result = Dataset()
    character_sets = {tuple(_values(header, "SpecificCharacterSet")) for header in sources}
    if len(character_sets) > 1 or not all(map(python_encoding.__contains__, *character_sets)):
        # Different or unknown character sets: UTF-8 can represent all of them.
        result.SpecificCharacterSet = _UTF_8
    elif common := list(character_sets.pop()):
        # Keeps the bytes of names, which archives compare.
        result.SpecificCharacterSet = common
    for keyword in (*_TYPE_2, *_OPTIONAL):
        element = _first(sources, keyword)
        if element is not None:
            result.add(element)
        elif keyword in _TYPE_2:
            setattr(result, keyword, None)
    return result


def sr_series(
    sources: Sources, *, instance_uid: str, series_uid: str, version: str, number: int
) -> Dataset:
    """SR Document Series, General Equipment and SOP Common modules, and the file's meta group."""
    result = Dataset()
    result.Modality = "SR"
    result.SeriesInstanceUID = series_uid
    result.SeriesNumber = number
    result.SeriesDescription = f"Lumbar AI {version} (research)"
    result.SeriesDate, result.SeriesTime = moment(sources)
    steps = _first(sources, "ReferencedPerformedProcedureStepSequence")
    result.ReferencedPerformedProcedureStepSequence = [] if steps is None else steps.value
    result.Manufacturer = MANUFACTURER
    result.ManufacturerModelName = MANUFACTURER
    result.SoftwareVersions = version
    result.SOPClassUID = ComprehensiveSRStorage
    result.SOPInstanceUID = instance_uid
    result.CodingSchemeIdentificationSequence = [codes.private_scheme()]
    result.file_meta = FileMetaDataset()
    result.file_meta.MediaStorageSOPClassUID = ComprehensiveSRStorage
    result.file_meta.MediaStorageSOPInstanceUID = UID(instance_uid)
    result.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    result.file_meta.ImplementationClassUID = UID(uids.IMPLEMENTATION_CLASS_UID)
    result.file_meta.ImplementationVersionName = "ORTHANC_LUMBAR"
    return result


def sr_document(sources: Sources, study_uid: str, predecessor: Dataset | None) -> Dataset:
    """SR Document General module: unverified and preliminary, all sources as evidence."""
    result = Dataset()
    result.StudyInstanceUID = study_uid
    result.InstanceNumber = 1
    result.ContentDate, result.ContentTime = moment(sources)
    result.CompletionFlag = "COMPLETE"
    result.VerificationFlag = "UNVERIFIED"
    result.PreliminaryFlag = "PRELIMINARY"
    result.PerformedProcedureCodeSequence = []
    result.CurrentRequestedProcedureEvidenceSequence = [
        _reference(study_uid, [(series, list(images)) for series, images in _by_series(sources)])
    ]
    orders = _first(sources, "RequestAttributesSequence")
    if orders is not None:
        result.ReferencedRequestSequence = [_order(o, sources, study_uid) for o in orders.value]
    if predecessor is not None:
        result.PredecessorDocumentsSequence = [
            _reference(
                predecessor.StudyInstanceUID, [(predecessor.SeriesInstanceUID, [predecessor])]
            )
        ]
    return result


def contributing_equipment(bundle: BundleIdentity, sources: Sources) -> Dataset:
    """The item of Contributing Equipment Sequence that identifies the models (IHE AIR).

    `bundle_of` is the inverse.
    """
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [codes.coded(codes.PROCESSING_EQUIPMENT)]
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = bundle.name
    item.SoftwareVersions = bundle.version
    item.DeviceSerialNumber = bundle.sha256
    item.DeviceUID = bundle.device_uid
    item.ContributionDateTime = "".join(moment(sources))
    item.ContributionDescription = "Graded by these models; the serial number is their SHA-256"
    return item


def bundle_of(dataset: Dataset) -> BundleIdentity:
    """The models in an SR written by `contributing_equipment`; other items are ignored."""
    for item in dataset.ContributingEquipmentSequence:
        if item.get("Manufacturer") == MANUFACTURER and "DeviceUID" in item:
            return BundleIdentity(
                name=str(item.ManufacturerModelName),
                version=str(item.SoftwareVersions),
                sha256=str(item.DeviceSerialNumber),
                device_uid=str(item.DeviceUID),
            )
    raise ReportError("no contributing equipment identifies the models")


def moment(sources: Sources) -> tuple[str, str]:
    """DICOM date and time of the latest source image; 1900-01-01 where none has a date."""
    return max(_moment_of(header) for header in sources)


def _moment_of(header: Dataset) -> tuple[str, str]:
    for name in _MOMENTS:
        date, time = (str(header.get(f"{name}{part}") or "") for part in ("Date", "Time"))
        if _DATE.fullmatch(date):
            return date, time if _TIME.fullmatch(time) else "000000"
    return "19000101", "000000"


def _by_series(sources: Sources) -> groupby[str, Dataset]:
    return groupby(sources, key=lambda header: str(header.SeriesInstanceUID))


def _reference(study_uid: str, series: list[tuple[str, list[Dataset]]]) -> Dataset:
    """An item of the Hierarchical SOP Instance Reference macro (PS3.3 C.17.2.1)."""
    item = Dataset()
    item.StudyInstanceUID = study_uid
    item.ReferencedSeriesSequence = []
    for series_uid, instances in series:
        entry = Dataset()
        entry.SeriesInstanceUID = series_uid
        entry.ReferencedSOPSequence = [_instance(instance) for instance in instances]
        item.ReferencedSeriesSequence.append(entry)
    return item


def _instance(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    return item


def _order(attributes: Dataset, sources: Sources, study_uid: str) -> Dataset:
    """An item of Referenced Request Sequence from one of Request Attributes Sequence."""
    item = Dataset()
    item.StudyInstanceUID = attributes.get("StudyInstanceUID") or study_uid
    for keyword in _ORDER_TYPE_2:
        element = _element(attributes, keyword)
        if element is None and keyword == "AccessionNumber":
            element = _first(sources, keyword)
        if element is None:
            setattr(item, keyword, [] if keyword.endswith("Sequence") else None)
        else:
            item.add(element)
    return item


def _values(header: Dataset, keyword: str) -> list[str]:
    value = header.get(keyword) or []
    return [value] if isinstance(value, str) else [str(v) for v in value]


def _first(sources: Sources, keyword: str) -> DataElement | None:
    elements = (_element(header, keyword) for header in sources)
    return next((element for element in elements if element is not None), None)


def _element(header: Dataset, keyword: str) -> DataElement | None:
    """A decoded copy of an element, or None when it is absent, empty or cannot be written."""
    if keyword not in header or header[keyword].is_empty:
        return None
    element = deepcopy(header[keyword])
    if element.VR == "SQ":
        for item in element.value:
            # Iterating decodes; raw elements would be written in the source's character set.
            list(item.iterall())
    # A copy, because a person name keeps the bytes in which it is first written.
    return element if _can_be_written(deepcopy(element)) else None


def _can_be_written(element: DataElement) -> bool:
    """Whether the values are valid for their VR: pydicom reads some that it cannot write."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    try:
        write_data_element(buffer, element, _UTF_8)
    except UNREADABLE:
        return False
    return True
