"""Rules for the modules of the SR (PS3.3 A.35.3) except for the content tree."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from pydicom.charset import python_encoding
from pydicom.uid import ComprehensiveSRStorage, EnhancedSRStorage
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR

from dicom_sr.attributes import elements, items, text, values
from dicom_sr.checking.subject import Problem, Subject, error, warning
from dicom_sr.revisions import predecessors

_COMPREHENSIVE_3D: Final = "1.2.840.10008.5.1.4.1.1.88.34"
_SIMILAR: Final = (EnhancedSRStorage, _COMPREHENSIVE_3D)

# Independent of the writer, so that its omissions are found.
_TYPE_1: Final = {
    "study": ("StudyInstanceUID",),
    "series": ("Modality", "SeriesInstanceUID", "SeriesNumber"),
    "document": (
        *("SOPClassUID", "SOPInstanceUID", "InstanceNumber", "ContentDate", "ContentTime"),
        *("CompletionFlag", "VerificationFlag"),
        *("ValueType", "ConceptNameCodeSequence", "ContinuityOfContent"),
    ),
}
_TYPE_2: Final = {
    "patient": ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    "study": ("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
    "series": ("ReferencedPerformedProcedureStepSequence", "Manufacturer"),
    "document": ("PerformedProcedureCodeSequence",),
}
_FLAGS: Final = {
    "CompletionFlag": ("PARTIAL", "COMPLETE"),
    "VerificationFlag": ("UNVERIFIED", "VERIFIED"),
    "PreliminaryFlag": ("PRELIMINARY", "FINAL"),
}
_ASCII: Final = ("", "ISO_IR 6", "ISO 2022 IR 6")
_REPLACED: Final = "\ufffd"
"""The replacement character of decoders for invalid bytes."""
_UID: Final = re.compile(r"(?=.{1,64}$)(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")


def is_a_comprehensive_sr(sr: Subject) -> Iterator[Problem]:
    """SOP Class and Modality are those of a Comprehensive SR."""
    sop_class = text(sr.dataset, "SOPClassUID")
    if sop_class in _SIMILAR:
        yield warning(
            "document", "is an SR of another class than Comprehensive SR; some systems reject it"
        )
    elif sop_class != ComprehensiveSRStorage:
        yield error("document", "its SOP Class is not Comprehensive SR Storage")
    if text(sr.dataset, "Modality") != "SR":
        yield error("series", "Modality is not SR")


def has_its_attributes(sr: Subject) -> Iterator[Problem]:
    """Type 1 attributes have a value; type 2 attributes are present."""
    for module, keywords in _TYPE_1.items():
        for keyword in keywords:
            if not values(sr.dataset, keyword):
                yield error(module, f"{keyword} is missing or empty (type 1)")
    for module, keywords in _TYPE_2.items():
        for keyword in keywords:
            if keyword not in sr.dataset:
                yield error(module, f"{keyword} is missing (type 2, may be empty)")


def has_valid_uids(sr: Subject) -> Iterator[Problem]:
    """Every UID is digits in components without leading zeros, 64 characters (PS3.5 9.1)."""
    for node in sr.root.walk():
        for keyword, vr, uids in elements(node.dataset):
            if vr == "UI" and not all(map(_UID.fullmatch, uids)):
                yield error(sr.where(node), f"{keyword} is not a valid UID")


def has_valid_flags(sr: Subject) -> Iterator[Problem]:
    """Completion, verification and preliminary flags have defined terms (PS3.3 C.17.2)."""
    for keyword, terms in _FLAGS.items():
        flag = text(sr.dataset, keyword)
        if flag and flag not in terms:
            yield error("document", f"{keyword} is neither {terms[0]} nor {terms[1]}")
    if not values(sr.dataset, "PreliminaryFlag"):
        yield warning("document", "PreliminaryFlag is missing (required by IHE AI Results)")
    verified = text(sr.dataset, "VerificationFlag") == "VERIFIED"
    if verified and not items(sr.dataset, "VerifyingObserverSequence"):
        yield error("document", "is VERIFIED without Verifying Observer Sequence (type 1C)")


def fits_its_character_set(sr: Subject) -> Iterator[Problem]:
    """Texts have no character outside of Specific Character Set (PS3.3 C.12.1.1.2)."""
    terms = [str(term).strip() for term in values(sr.dataset, "SpecificCharacterSet")] or [""]
    if not set(terms) <= set(python_encoding):
        yield error("document", "SpecificCharacterSet has an unknown term")
        return
    for node in sr.root.walk():
        for keyword, vr, texts in elements(node.dataset):
            if vr in CUSTOMIZABLE_CHARSET_VR and not _fits("".join(texts), terms):
                yield error(
                    sr.where(node), f"{keyword} has a character outside of SpecificCharacterSet"
                )


def names_its_equipment(sr: Subject) -> Iterator[Problem]:
    """Contributing equipment has a Device UID that identifies the models (IHE AI Results)."""
    equipment = items(sr.dataset, "ContributingEquipmentSequence")
    if not any(text(item, "DeviceUID") for item in equipment):
        yield warning(
            "document", "no contributing equipment has a Device UID (required by IHE AI Results)"
        )


def does_not_revise_itself(sr: Subject) -> Iterator[Problem]:
    """The document is not its own predecessor."""
    own = text(sr.dataset, "SOPInstanceUID")
    if own and own in predecessors(sr.dataset):
        yield error("document", "lists itself as its predecessor")


def _fits(content: str, terms: Sequence[str]) -> bool:
    """Whether each character is in one of the character sets (a text may switch between them)."""
    non_ascii = {character for character in content if not character.isascii()}
    return all(any(_holds(term, character) for term in terms) for character in non_ascii)


def _holds(term: str, character: str) -> bool:
    """Whether a character set contains a character outside of ASCII."""
    if term in _ASCII or character == _REPLACED:
        return False
    try:
        encoded = character.encode(python_encoding[term])
    except UnicodeEncodeError:
        return False
    # Python's Shift JIS includes more than the single bytes of JIS X 0201.
    return len(encoded) == 1 or not term.endswith("IR 13")
