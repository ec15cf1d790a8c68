"""What headers alone forbid to grade: one row for each exclusion, and rows that exclude nothing."""

import pytest

from dicom_sr.findings import NotAssessedReason
from worker.intake.exclusions import exclude
from worker.intake.headers import read_study
from worker.intake.routing import route

UNDER_AGE = NotAssessedReason.UNDER_AGE
TRANSITIONAL = NotAssessedReason.TRANSITIONAL_ANATOMY
METAL = NotAssessedReason.METAL_ARTEFACT
EXAMINED = {"StudyDate": "20240517"}

EXCLUDED = [
    (UNDER_AGE, {"PatientAge": "017Y"}),
    (UNDER_AGE, {"PatientAge": "200M"}),
    (UNDER_AGE, {"PatientAge": "052W"}),
    (UNDER_AGE, {"PatientAge": "300D"}),
    (UNDER_AGE, {"PatientBirthDate": "20060518", **EXAMINED}),
    (UNDER_AGE, {"PatientBirthDate": "2010.01.01", **EXAMINED}),
    (UNDER_AGE, {"PatientBirthDate": "20100101", "SeriesDate": "20240517"}),
    (UNDER_AGE, {"PatientBirthDate": "19700101", "PatientAge": "015Y", **EXAMINED}),
    (NotAssessedReason.NOT_LUMBAR, {"PixelSpacing": [1.5, 4.0]}),
    (TRANSITIONAL, {"StudyDescription": "MRI L-spine, LSTV"}),
    (TRANSITIONAL, {"StudyDescription": "LWS nativ, Übergangswirbel"}),
    (TRANSITIONAL, {"StudyDescription": "IRM lombaire, vertèbre de transition"}),
    (TRANSITIONAL, {"SeriesDescription": "sag T2 sakralisierter L5"}),
    (TRANSITIONAL, {"StudyDescription": "RM lombare, sacralizzazione di L5"}),
    (TRANSITIONAL, {"StudyDescription": "RM columna lumbar, lumbarización de S1"}),
    (TRANSITIONAL, {"StudyDescription": "IRM lombaire, S1 lumbarisée"}),
    (TRANSITIONAL, {"StudyDescription": "MRT LWS, Lumbarisierung von S1"}),
    (TRANSITIONAL, {"StudyDescription": "RM coluna, vértebra de transição Castellvi II"}),
    (TRANSITIONAL, {"StudyDescription": "MRI LWK overgangswervel"}),
    (TRANSITIONAL, {"StudyDescription": "MRI LUMBAR SPINE WITHOUT CONTRAST TRANSITIONAL VERTEBRA"}),
    (TRANSITIONAL, {"StudyDescription": "MRI lumbar spine without contrast, lumbarized S1"}),
    (TRANSITIONAL, {"StudyDescription": "MRT LWS ohne KM, lumbalisierter S1"}),
    (TRANSITIONAL, {"StudyDescription": "IRM lombaire sans injection sacralisation L5"}),
    (TRANSITIONAL, {"StudyDescription": "IRM lombaire sans PDC sacralisation L5"}),
    (TRANSITIONAL, {"StudyDescription": "MRI lumbar without; LSTV"}),
    (TRANSITIONAL, {"StudyDescription": "IRM lombaire sans, vertèbre (de transition)"}),
    (METAL, {"StudyDescription": "MRT LWS ohne KM Spondylodese"}),
    (METAL, {"StudyDescription": "MRT LWS ohne Kontrastmittelgabe Spondylodese"}),
    (METAL, {"StudyDescription": "MRI L-SPINE WITHOUT CONTRAST HARDWARE L4-S1"}),
    (METAL, {"StudyDescription": "RM columna lumbar sin contraste, artrodesis L4-L5"}),
    (METAL, {"StudyDescription": "MRI lumbar, pedicle screws"}),
    (METAL, {"StudyDescription": "LWS Z.n. Spondylodese"}),
    (METAL, {"StudyDescription": "IRM rachis, matériel métallique"}),
    (METAL, {"SeriesDescription": "t2_tse_sag_WARP"}),
    (METAL, {"SeriesDescription": "Sag T2 MAVRIC SL"}),
    (METAL, {"SeriesDescription": "sag T2 SEMAC"}),
    (METAL, {"ProtocolName": "sag T2 MARS"}),
]

NOT_EXCLUDED = [
    {},
    {"PatientAge": "018Y"},
    {"PatientAge": "216M"},
    {"PatientAge": ""},
    {"PatientAge": "000Y"},
    {"PatientAge": "unknown"},
    {"PatientBirthDate": "20060517", **EXAMINED},
    {"PatientBirthDate": "20060517"},
    {"PatientBirthDate": "20250101", **EXAMINED},
    {"BodyPartExamined": "HEAD"},
    {"PixelSpacing": [2.5, 4.0]},
    {"StudyDescription": "RM transição toracolombar"},
    {"StudyDescription": "MRT lumbosakraler Übergang"},
    {"StudyDescription": "Spinalkanalstenose, canalis lumbalis"},
    {"StudyDescription": "MRI lumbar, no transitional vertebra"},
    {"StudyDescription": "MRI lumbar without contrast, no known transitional vertebra"},
    {"StudyDescription": "RM COLUMNA LUMBARIS"},
    {"StudyDescription": "LWS Z.n. Metallentfernung"},
    {"StudyDescription": "LWS ohne Metall"},
    {"StudyDescription": "LWS ohne KM ohne Spondylodese"},
    {"StudyDescription": "LWS_ohne_Spondylodese"},
    {"StudyDescription": "MRI lumbar with no hardware"},
    {"StudyDescription": "IRM rachis sans matériel métallique"},
    {"StudyDescription": "IRM lombaire mars 2024"},
]


def excluded(make_series, changes, **options):
    """The exclusions of a sagittal T2 series with these headers."""
    described = {"SeriesDescription": "sag T2", "EchoTime": 100, "RepetitionTime": 3500}
    series = make_series("sagittal", "1.2.3.1", **(described | changes))
    return exclude(route(read_study(series)), **options).exclusions


@pytest.mark.parametrize(("reason", "changes"), EXCLUDED, ids=str)
def test_headers_exclude_a_study(make_series, reason, changes):
    """Each row gives its coded reason and no other."""
    assert [one.reason for one in excluded(make_series, changes)] == [reason]


@pytest.mark.parametrize("changes", NOT_EXCLUDED, ids=str)
def test_headers_that_exclude_nothing(make_series, changes):
    """Nothing is excluded by a label alone, on the birthday, or by absent values."""
    assert excluded(make_series, changes) == ()


@pytest.mark.parametrize(
    ("min_age", "age", "reasons"),
    [(0, "001D", []), (16, "016Y", []), (16, "015Y", [UNDER_AGE]), (21, "020Y", [UNDER_AGE])],
)
def test_a_site_chooses_the_age(make_series, min_age, age, reasons):
    """The minimum age is the site's; zero grades every age."""
    found = excluded(make_series, {"PatientAge": age}, min_age_years=min_age)
    assert [one.reason for one in found] == reasons


def test_an_explanation_tells_no_age_and_no_birth_date(make_series):
    """The message about a patient under age contains nothing else."""
    said = {"PatientAge": "015Y", "PatientBirthDate": "20090203", "StudyDate": "20240517"}
    (found,) = excluded(make_series, said)
    assert found.because == "by the patient's age, under 18 years"


def test_any_series_tells_the_age(make_series):
    """An age that the first series lacks is found in another."""
    described = {"SeriesDescription": "sag T2", "EchoTime": 100, "RepetitionTime": 3500}
    adult = make_series("sagittal", "1.2.3.1", **described)
    minor = make_series("sagittal", "1.2.3.2", PatientAge="012Y", **described)
    study = exclude(route(read_study([*adult, *minor])))
    assert [one.reason for one in study.exclusions] == [UNDER_AGE]
