"""Whether all objects of a study show one patient.

Consoles that reuse a Study Instance UID, and identifiers corrected during an examination, put the
images of two patients into one study. Such a study is refused: a grade in the wrong name is
worse than none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from pydicom import Dataset

from dicom_sr.attributes import item, text
from worker.errors import SeveralPatients

_SEXES: Final = {"MALE": "M", "FEMALE": "F", "OTHER": "O"}
_SEPARATORS: Final = re.compile(r"[\s^\0]+")


@dataclass(frozen=True)
class Patient:
    """The patient that a header names (PS3.3 C.7.1.1), normalised; empty where absent."""

    patient_id: str
    issuer: str
    name: str
    birth_date: str
    sex: str


def check_one_patient(headers: Iterable[Dataset]) -> None:
    """Raise SeveralPatients unless all headers can be those of one patient.

    Two Patient IDs are two patients, unless two issuers assigned them and name, birth date and
    sex are present and agree. Two birth dates or two sexes are two patients whatever the IDs;
    two spellings of a name are not. Absent values contradict nothing.
    """
    if attribute := _conflict({_patient(header) for header in headers}):
        raise SeveralPatients(
            "the objects of this study name different patients: they disagree in "
            f"{attribute}; correct the study in the archive"
        )


def _conflict(patients: Collection[Patient]) -> str | None:
    """The attribute by which headers name different patients; None where they do not."""
    if len({patient.birth_date for patient in patients} - {""}) > 1:
        return "Patient's Birth Date"
    if len({patient.sex for patient in patients} - {""}) > 1:
        return "Patient's Sex"
    named = [patient for patient in patients if patient.patient_id]
    ids = {patient.patient_id for patient in named}
    issued = {(patient.issuer, patient.patient_id) for patient in named}
    issuers = {issuer for issuer, _ in issued}
    persons = {(patient.name, patient.birth_date, patient.sex) for patient in named}
    one_person = len(persons) == 1 and all(next(iter(persons)))
    # Every ID has an issuer of its own.
    by_issuers = "" not in issuers and len(issuers) == len(issued)
    if len(ids) > 1 and not (one_person and by_issuers):
        return "Patient ID"
    # An ID is unique among those of one issuer only.
    if len(issuers - {""}) > 1 and not one_person:
        return "Issuer of Patient ID"
    return None


def _patient(header: Dataset) -> Patient:
    sex = text(header, "PatientSex").strip("\0").upper()
    qualifiers = item(header, "IssuerOfPatientIDQualifiersSequence")
    return Patient(
        patient_id=text(header, "PatientID").strip(" \0"),
        issuer=text(header, "IssuerOfPatientID").strip(" \0")
        or text(qualifiers, "UniversalEntityID").strip(" \0"),
        name=_name(text(header, "PatientName")),
        # `1970.01.31` was the form before DICOM 3.
        birth_date="".join(filter(str.isdigit, text(header, "PatientBirthDate"))),
        sex=_SEXES.get(sex, sex),
    )


def _name(text: str) -> str:
    """The first component group of a name, without case, accents and padding."""
    plain = unicodedata.normalize("NFKD", text.split("=")[0].casefold())
    letters = "".join(c for c in plain if not unicodedata.combining(c))
    return " ".join(filter(None, _SEPARATORS.split(letters)))
