"""The coded concepts of a report, and the lookup of values by code.

SNOMED CT is used where a concept is in the DICOM subset of it (PS3.16 chapter 8); other
concepts are in the private scheme 99LUMBAR. Normal/Mild is one merged class and has a
private code: the SNOMED code "Mild" would assert a stenosis that may not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_sr import uids
from dicom_sr.errors import ReportError
from dicom_sr.findings import Condition, Level, NotAssessedReason, Severity, Side

PRIVATE_SCHEME: Final = "99LUMBAR"


def _private(value: str, meaning: str) -> Code:
    return Code(value, PRIVATE_SCHEME, meaning)


# --- the document and its templates (PS3.16 TID 1500, 1501, 1002, 1004, 4019)
IMAGING_MEASUREMENT_REPORT: Final = Code("126000", "DCM", "Imaging Measurement Report")
IMAGING_MEASUREMENTS: Final = Code("126010", "DCM", "Imaging Measurements")
MEASUREMENT_GROUP: Final = Code("125007", "DCM", "Measurement Group")
QUALITATIVE_EVALUATIONS: Final = Code("C0034375", "UMLS", "Qualitative Evaluations")
LANGUAGE: Final = Code("121049", "DCM", "Language of Content Item and Descendants")
ENGLISH: Final = Code("en-US", "RFC5646", "English (United States)")
PROCEDURE_REPORTED: Final = Code("121058", "DCM", "Procedure reported")
MRI: Final = Code("25056-3", "LN", "MRI unspecified body region")
OBSERVER_TYPE: Final = Code("121005", "DCM", "Observer Type")
DEVICE: Final = Code("121007", "DCM", "Device")
DEVICE_OBSERVER_UID: Final = Code("121012", "DCM", "Device Observer UID")
DEVICE_OBSERVER_NAME: Final = Code("121013", "DCM", "Device Observer Name")
DEVICE_OBSERVER_MANUFACTURER: Final = Code("121014", "DCM", "Device Observer Manufacturer")
DEVICE_OBSERVER_MODEL: Final = Code("121015", "DCM", "Device Observer Model Name")
DEVICE_OBSERVER_SERIAL: Final = Code("121016", "DCM", "Device Observer Serial Number")
TRACKING_IDENTIFIER: Final = Code("112039", "DCM", "Tracking Identifier")
TRACKING_UID: Final = Code("112040", "DCM", "Tracking Unique Identifier")
FINDING: Final = Code("121071", "DCM", "Finding")
FINDING_SITE: Final = Code("363698007", "SCT", "Finding Site")
LATERALITY: Final = Code("272741003", "SCT", "Laterality")
ALGORITHM_NAME: Final = Code("111001", "DCM", "Algorithm Name")
ALGORITHM_VERSION: Final = Code("111003", "DCM", "Algorithm Version")
ALGORITHM_PARAMETERS: Final = Code("111002", "DCM", "Algorithm Parameters")
CERTAINTY: Final = Code("111012", "DCM", "Certainty of Finding")
SOURCE: Final = Code("260753009", "SCT", "Source")
SOURCE_OF_MEASUREMENT: Final = Code("121112", "DCM", "Source of Measurement")
SEVERITY: Final = Code("246112005", "SCT", "Severity")
COMMENT: Final = Code("121106", "DCM", "Comment")
PERCENT: Final = Code("%", "UCUM", "Percent")
PROCESSING_EQUIPMENT: Final = Code("109102", "DCM", "Processing Equipment")
NOT_ASSESSED: Final = _private("NA", "Not assessed because")
TARGET_SET: Final = _private("TARGET_SET", "Target set")

# --- the values of findings
LEVELS: Final[Mapping[Level, Code]] = {
    Level.L1_L2: Code("243920003", "SCT", "Level of L1/L2 intervertebral disc"),
    Level.L2_L3: Code("243921004", "SCT", "Level of L2/L3 intervertebral disc"),
    Level.L3_L4: Code("243922006", "SCT", "Level of L3/L4 intervertebral disc"),
    Level.L4_L5: Code("243923001", "SCT", "Level of L4/L5 intervertebral disc"),
    Level.L5_S1: Code("243927000", "SCT", "Level of L5/S1 intervertebral disc"),
}
SIDES: Final[Mapping[Side, Code]] = {
    Side.LEFT: Code("7771000", "SCT", "Left"),
    Side.RIGHT: Code("24028007", "SCT", "Right"),
}
CONDITIONS: Final[Mapping[Condition, Code]] = {
    Condition.SPINAL_CANAL_STENOSIS: _private("SCS", "Spinal canal stenosis"),
    Condition.NEURAL_FORAMINAL_NARROWING: _private("NFN", "Neural foraminal narrowing"),
    Condition.SUBARTICULAR_STENOSIS: _private("SAS", "Subarticular stenosis"),
}
SEVERITIES: Final[Mapping[Severity, Code]] = {
    Severity.NORMAL_MILD: _private("NORMAL_MILD", "Normal/Mild"),
    Severity.MODERATE: Code("6736007", "SCT", "Moderate"),
    Severity.SEVERE: Code("24484000", "SCT", "Severe"),
}
PROBABILITIES: Final[Mapping[Severity, Code]] = {
    Severity.NORMAL_MILD: _private("P_NORMAL_MILD", "Probability of Normal/Mild"),
    Severity.MODERATE: _private("P_MODERATE", "Probability of Moderate"),
    Severity.SEVERE: _private("P_SEVERE", "Probability of Severe"),
}
REASONS: Final[Mapping[NotAssessedReason, Code]] = {
    NotAssessedReason.NO_SAGITTAL_T1: _private("NA_NO_SAG_T1", "no sagittal T1"),
    NotAssessedReason.NO_SAGITTAL_T2: _private("NA_NO_SAG_T2", "no sagittal T2"),
    NotAssessedReason.NO_AXIAL_T2: _private("NA_NO_AX_T2", "no axial T2"),
    NotAssessedReason.LEVEL_NOT_FOUND: _private("NA_LEVEL", "the disc level was not found"),
    NotAssessedReason.FORAMEN_NOT_FOUND: _private("NA_FORAMEN", "the foramen was not found"),
    NotAssessedReason.CANAL_NOT_FOUND: _private(
        "NA_CANAL", "the canal was not found on the axial slice"
    ),
    NotAssessedReason.NO_AXIAL_SLICE: _private(
        "NA_NO_AX_SLICE", "no axial slice within 5 mm of the disc"
    ),
    NotAssessedReason.OUTSIDE_IMAGE: _private("NA_OUTSIDE", "the target lies outside the image"),
    NotAssessedReason.NOT_SAME_SPACE: _private(
        "NA_SPACE", "the series do not share a patient space"
    ),
    NotAssessedReason.SERIES_UNUSABLE: _private(
        "NA_UNUSABLE", "the series that shows it is there but cannot be used"
    ),
    NotAssessedReason.ORIENTATION_IN_DOUBT: _private(
        "NA_ORIENTATION", "the images contradict the patient orientation in the headers"
    ),
    NotAssessedReason.UNCERTAIN: _private("NA_UNCERTAIN", "the models are too unsure"),
    NotAssessedReason.UNDER_AGE: _private("NA_AGE", "the patient is under the minimum age"),
    NotAssessedReason.NOT_LUMBAR: _private(
        "NA_NOT_LUMBAR", "the images do not show a whole lumbar spine"
    ),
    NotAssessedReason.TOO_FEW_LEVELS: _private(
        "NA_FEW_LEVELS", "too few disc levels were found to number them"
    ),
    NotAssessedReason.TRANSITIONAL_ANATOMY: _private(
        "NA_TRANSITIONAL", "transitional anatomy suspected: level numbering is in doubt"
    ),
    NotAssessedReason.METAL_ARTEFACT: _private("NA_METAL", "metal artefact suspected"),
}

Value = TypeVar("Value")


def value_of(code: Code, table: Mapping[Value, Code]) -> Value:
    """The value with this code in a table, by scheme and code value; the meaning is ignored.

    Raises ReportError with the code when it is not in the table.
    """
    for value, known in table.items():
        if (known.scheme_designator, known.value) == (code.scheme_designator, code.value):
            return value
    raise ReportError(f"unknown code ({code.value}, {code.scheme_designator}, {code.meaning!r})")


def coded(code: Code) -> Dataset:
    """One item of a code sequence (PS3.3 section 8.8)."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item


def private_scheme() -> Dataset:
    """The item of Coding Scheme Identification Sequence for 99LUMBAR."""
    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE_SCHEME
    item.CodingSchemeUID = uids.CODING_SCHEME_UID
    item.CodingSchemeName = "Orthanc Lumbar grades"
    item.CodingSchemeVersion = "1"
    item.CodingSchemeResponsibleOrganization = "Orthanc Lumbar"
    return item
