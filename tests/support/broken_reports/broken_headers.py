"""Documents that break a rule about what they are and whose."""

from __future__ import annotations

from pydicom.uid import CTImageStorage, EnhancedSRStorage

from dicom_sr.checking import header, images

from .breaking import (
    COMMENT,
    FIRST,
    TRACKING,
    Case,
    changed,
    own_predecessor,
    put,
    put_in,
    unreadable_name,
    without,
)

CASES = {
    "another SR class": Case(
        header.is_a_comprehensive_sr,
        put(SOPClassUID=EnhancedSRStorage),
        *("warning", "document", "SR of another class"),
    ),
    "an image class": Case(
        header.is_a_comprehensive_sr,
        put(SOPClassUID=CTImageStorage),
        *("error", "document", "SOP Class"),
    ),
    "another modality": Case(
        header.is_a_comprehensive_sr, put(Modality="MR"), "error", "series", "Modality"
    ),
    "type 1 missing": Case(
        header.has_its_attributes,
        without("CompletionFlag"),
        *("error", "document", "CompletionFlag is missing"),
    ),
    "type 1 empty": Case(
        header.has_its_attributes,
        put(SeriesNumber=None),
        *("error", "series", "SeriesNumber is missing or empty"),
    ),
    "type 2 missing": Case(
        header.has_its_attributes,
        without("PatientSex"),
        *("error", "patient", "PatientSex is missing"),
    ),
    "leading zero": Case(
        header.has_valid_uids,
        put(SeriesInstanceUID="1.02"),
        *("error", "document", "SeriesInstanceUID is not a valid"),
    ),
    "nested UID": Case(
        header.has_valid_uids,
        lambda sr: changed(sr.ContributingEquipmentSequence[0], DeviceUID="1..2"),
        *("error", "document", "ContributingEquipmentSequence.DeviceUID is not"),
    ),
    "tracking UID too long": Case(
        header.has_valid_uids, put_in(TRACKING, UID="1." * 32 + "1"), "error", FIRST, "UID is not"
    ),
    "unknown flag": Case(
        header.has_valid_flags,
        put(CompletionFlag="DONE"),
        *("error", "document", "CompletionFlag is neither"),
    ),
    "no preliminary flag": Case(
        header.has_valid_flags,
        without("PreliminaryFlag"),
        *("warning", "document", "PreliminaryFlag is missing"),
    ),
    "verified without observer": Case(
        header.has_valid_flags,
        put(VerificationFlag="VERIFIED"),
        *("error", "document", "without Verifying Observer Sequence"),
    ),
    "character of another script": Case(
        header.fits_its_character_set,
        put(PatientName="Иванов"),
        *("error", "document", "PatientName has a character"),
    ),
    "character without a character set": Case(
        header.fits_its_character_set,
        without("SpecificCharacterSet"),
        *("error", "document", "PatientName has a character"),
    ),
    "kanji in katakana": Case(
        header.fits_its_character_set,
        put(SpecificCharacterSet="ISO_IR 13", PatientName="山田"),
        *("error", "document", "PatientName has a character"),
    ),
    "character in the tree": Case(
        header.fits_its_character_set,
        put_in(COMMENT, TextValue="L4/L5 狭窄"),
        *("error", FIRST, "TextValue has a character"),
    ),
    "invalid bytes": Case(
        header.fits_its_character_set,
        unreadable_name,
        *("error", "document", "PatientName has a character"),
    ),
    "unknown character set": Case(
        header.fits_its_character_set,
        put(SpecificCharacterSet="LATIN"),
        *("error", "document", "unknown term"),
    ),
    "no Device UID": Case(
        header.names_its_equipment,
        lambda sr: sr.ContributingEquipmentSequence[0].pop("DeviceUID"),
        *("warning", "document", "Device UID"),
    ),
    "its own predecessor": Case(
        header.does_not_revise_itself, own_predecessor, "error", "document", "itself"
    ),
    "another patient ID": Case(
        images.belongs_to_the_study, put(PatientID="P-2"), "error", "patient", "PatientID differs"
    ),
    "no patient ID": Case(
        images.belongs_to_the_study, put(PatientID=""), "error", "patient", "PatientID differs"
    ),
    "another name": Case(
        images.belongs_to_the_study,
        put(PatientName="M^J"),
        "error",
        "patient",
        "PatientName differs",
    ),
    "another order": Case(
        images.belongs_to_the_study, put(AccessionNumber="B"), "error", "study", "AccessionNumber"
    ),
    "another study": Case(
        images.belongs_to_the_study, put(StudyInstanceUID="1.2"), "error", "study", "no given image"
    ),
}
