"""Rules about what the object is and whose: its modules (PS3.3 A.35.3) around the content tree."""

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

# Written down again and not taken from the writer, whose omissions would go unseen.
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
"""What a decoder puts for bytes that mean nothing in their character set."""
_UID: Final = re.compile(r"(?=.{1,64}$)(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")


def is_a_comprehensive_sr(sr: Subject) -> Iterator[Problem]:
    """SOP Class and Modality are those of a Comprehensive SR."""
    sop_class = text(sr.dataset, "SOPClassUID")
    if sop_class in _SIMILAR:
        yield warning("document", "is another class of SR than Comprehensive SR; some refuse it")
    elif sop_class != ComprehensiveSRStorage:
        yield error("document", "its SOP Class is not Comprehensive SR Storage")
    if text(sr.dataset, "Modality") != "SR":
        yield error("series", "Modality is not SR")


def has_its_attributes(sr: Subject) -> Iterator[Problem]:
    """Type 1 attributes have a value, type 2 attributes are there, and at most empty."""
    for module, keywords in _TYPE_1.items():
        for keyword in keywords:
            if not values(sr.dataset, keyword):
                yield error(module, f"{keyword} is missing or empty (type 1)")
    for module, keywords in _TYPE_2.items():
        for keyword in keywords:
            if keyword not in sr.dataset:
                yield error(module, f"{keyword} is missing (type 2: it may be empty)")


def has_valid_uids(sr: Subject) -> Iterator[Problem]:
    """Every UID is digits in components without leading zeros, 64 characters (PS3.5 9.1)."""
    for node in sr.root.walk():
        for keyword, vr, uids in elements(node.dataset):
            if vr == "UI" and not all(map(_UID.fullmatch, uids)):
                yield error(sr.where(node), f"{keyword} is not a valid UID")


def has_sound_flags(sr: Subject) -> Iterator[Problem]:
    """Completion, verification and preliminary flags say one of their terms (PS3.3 C.17.2)."""
    for keyword, terms in _FLAGS.items():
        flag = text(sr.dataset, keyword)
        if flag and flag not in terms:
            yield error("document", f"{keyword} is neither {terms[0]} nor {terms[1]}")
    if not values(sr.dataset, "PreliminaryFlag"):
        yield warning("document", "PreliminaryFlag is missing; IHE AI Results asks for it")
    verified = text(sr.dataset, "VerificationFlag") == "VERIFIED"
    if verified and not items(sr.dataset, "VerifyingObserverSequence"):
        yield error("document", "is VERIFIED and does not say by whom (type 1C)")


def fits_its_character_set(sr: Subject) -> Iterator[Problem]:
    """Texts hold no letter outside of the Specific Character Set (PS3.3 C.12.1.1.2)."""
    terms = [str(term).strip() for term in values(sr.dataset, "SpecificCharacterSet")] or [""]
    if not set(terms) <= set(python_encoding):
        yield error("document", "SpecificCharacterSet holds an unknown term")
        return
    for node in sr.root.walk():
        for keyword, vr, texts in elements(node.dataset):
            if vr in CUSTOMIZABLE_CHARSET_VR and not _fits("".join(texts), terms):
                yield error(
                    sr.where(node), f"{keyword} holds a letter that SpecificCharacterSet has not"
                )


def names_its_equipment(sr: Subject) -> Iterator[Problem]:
    """Contributing equipment has a Device UID: which models these were (IHE AI Results)."""
    equipment = items(sr.dataset, "ContributingEquipmentSequence")
    if not any(text(item, "DeviceUID") for item in equipment):
        yield warning(
            "document", "no contributing equipment has a Device UID; IHE AI Results asks for it"
        )


def does_not_revise_itself(sr: Subject) -> Iterator[Problem]:
    """No predecessor document is the document itself."""
    own = text(sr.dataset, "SOPInstanceUID")
    if own and own in predecessors(sr.dataset):
        yield error("document", "names itself as its predecessor")


def _fits(content: str, terms: Sequence[str]) -> bool:
    """Whether each letter is in one of the character sets, between which a text may switch."""
    strange = {letter for letter in content if not letter.isascii()}
    return all(any(_holds(term, letter) for term in terms) for letter in strange)


def _holds(term: str, letter: str) -> bool:
    """Whether a character set has a letter that is not in ASCII."""
    if term in _ASCII or letter == _REPLACED:
        return False
    try:
        encoded = letter.encode(python_encoding[term])
    except UnicodeEncodeError:
        return False
    # Python's Shift JIS goes beyond the single bytes of JIS X 0201.
    return len(encoded) == 1 or not term.endswith("IR 13")
