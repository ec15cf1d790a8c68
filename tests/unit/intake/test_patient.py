"""One patient for each study: which differences refuse a study, and which do not."""

import random

import pytest

from worker.errors import SeveralPatients
from worker.intake.headers import read_study

DOE = {
    "PatientID": "4711",
    "PatientName": "Doe^Jane",
    "PatientBirthDate": "19700131",
    "PatientSex": "F",
}

ONE_PATIENT = [
    ({}, {}),
    ({"PatientID": "4711"}, {}),
    (DOE, DOE),
    (DOE, DOE | {"PatientName": "DOE^JANE^M.^^Dr."}),
    (DOE, DOE | {"PatientName": "Dö^Jäne=Δο"}),
    (DOE, DOE | {"PatientID": " 4711 ", "PatientName": "Doe^Jane^^^ "}),
    (DOE, DOE | {"PatientBirthDate": "1970.01.31"}),
    (DOE, DOE | {"PatientSex": ""}),
    (DOE, DOE | {"PatientSex": "Female"}),
    (DOE, DOE | {"PatientBirthDate": None}),
    (DOE, DOE | {"IssuerOfPatientID": "HOSPITAL"}),
    (
        DOE | {"IssuerOfPatientID": "HOSPITAL"},
        DOE | {"PatientID": "X9", "IssuerOfPatientID": "CLINIC", "PatientName": "DOE^JANE^"},
    ),
    (DOE | {"IssuerOfPatientID": "HOSPITAL"}, DOE | {"IssuerOfPatientID": "CLINIC"}),
]

TWO_PATIENTS = [
    ({"PatientID": "4711"}, {"PatientID": "4712"}, "Patient ID"),
    ({"PatientID": "4711"}, {"PatientID": "04711"}, "Patient ID"),
    (DOE, DOE | {"PatientID": "4712"}, "Patient ID"),
    (DOE | {"IssuerOfPatientID": "HOSPITAL"}, DOE | {"PatientID": "4712"}, "Patient ID"),
    (
        DOE | {"IssuerOfPatientID": "A"},
        DOE | {"PatientID": "X9", "IssuerOfPatientID": "B", "PatientName": "Roe^Jane"},
        "Patient ID",
    ),
    (
        DOE | {"IssuerOfPatientID": "A", "PatientSex": ""},
        DOE | {"PatientID": "X9", "IssuerOfPatientID": "B", "PatientSex": ""},
        "Patient ID",
    ),
    (
        {"PatientID": "1", "IssuerOfPatientID": "A"},
        {"PatientID": "1", "IssuerOfPatientID": "B"},
        "Issuer of Patient ID",
    ),
    (DOE, DOE | {"PatientBirthDate": "19700201"}, "Patient's Birth Date"),
    ({"PatientBirthDate": "19700201"}, {"PatientBirthDate": "19700202"}, "Patient's Birth Date"),
    (DOE, DOE | {"PatientSex": "M"}, "Patient's Sex"),
    (
        DOE | {"IssuerOfPatientID": "A"},
        DOE | {"PatientID": "X9", "IssuerOfPatientID": "B", "PatientSex": "M"},
        "Patient's Sex",
    ),
]


def instances(make_series, *patients):
    """A series for each patient, shuffled."""
    found = [
        instance
        for number, patient in enumerate(patients)
        for instance in make_series("sagittal", f"1.2.3.{number + 1}", 3, **patient)
    ]
    return random.Random(len(patients)).sample(found, len(found))


@pytest.mark.parametrize(("one", "other"), ONE_PATIENT)
def test_one_patient(one, other, make_series):
    """Absent values, spellings of a name and two issuers of one person are one patient."""
    assert read_study(instances(make_series, one, other)).series


@pytest.mark.parametrize(("one", "other", "attribute"), TWO_PATIENTS)
def test_two_patients_are_refused(one, other, attribute, make_series):
    """The message names the attribute, and none of its values."""
    with pytest.raises(SeveralPatients) as refusal:
        read_study(instances(make_series, one, other))
    message = str(refusal.value)
    assert f"disagree in {attribute};" in message
    assert not any(
        value and value in message for value in (*one.values(), *other.values()) if len(value) > 1
    )


def test_a_third_patient_is_not_hidden_by_two_issuers(make_series):
    """Each Patient ID needs an issuer of its own."""
    a, b = DOE | {"IssuerOfPatientID": "A"}, DOE | {"PatientID": "X9", "IssuerOfPatientID": "B"}
    third = DOE | {"PatientID": "X10", "IssuerOfPatientID": "B"}
    with pytest.raises(SeveralPatients):
        read_study(instances(make_series, a, b, third))


def test_one_object_of_another_patient_is_enough(make_series):
    """Also an object that routing would not use."""
    found = make_series("sagittal", "1.2.3.1", **DOE)
    stray = make_series("coronal", "1.2.3.7", 1, **DOE | {"PatientID": "4712"}, Modality="SR")
    with pytest.raises(SeveralPatients):
        read_study([*found, *stray])
