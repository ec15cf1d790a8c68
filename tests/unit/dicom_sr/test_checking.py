"""Each kind of broken SR, made from a valid one, is reported by `check`."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from dicom_sr.checking import RULES, check
from dicom_sr.checking.subject import Subject
from dicom_sr.findings import Report
from dicom_sr.writer import write
from tests.support.broken_reports import broken_headers, broken_images, broken_trees
from tests.support.broken_reports.breaking import Case

CASES = broken_headers.CASES | broken_trees.CASES | broken_images.CASES


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_breaking_shape_is_named(case: Case, written: Dataset, sources: list[Dataset]) -> None:
    """The rule reports the problem with its severity and place."""
    case.break_it(written)
    found = list(case.rule(Subject(written, sources)))
    assert [
        problem
        for problem in found
        if problem.severity == case.severity
        and problem.where.startswith(case.where)
        and case.what in problem.what
    ]
    assert set(found) <= set(check(written, sources))


def test_every_rule_has_a_shape_that_breaks_it() -> None:
    """Every rule has a case that violates it."""
    assert {case.rule for case in CASES.values()} == set(RULES)


def test_a_good_report_has_no_problem(
    written: Dataset, nothing_assessed: Report, sources: list[Dataset]
) -> None:
    """With images and without, with grades and without."""
    assert check(written) == check(written, sources) == ()
    assert (
        check(
            write(
                nothing_assessed, sources, software_version="1", pipeline_version=1, fingerprint="f"
            )
        )
        == ()
    )


def test_an_image_is_not_a_report(sources: list[Dataset]) -> None:
    """What is no SR gets one sentence, not all that an image lacks as an SR."""
    for other in (sources[0], Dataset()):
        (problem,) = check(other)
        assert (problem.severity, problem.what) == ("error", "not a Structured Report")


def test_names_are_compared_as_people_read_them(written: Dataset, sources: list[Dataset]) -> None:
    """Empty components that trail make no other patient, and other images' gaps neither."""
    written.PatientName = "Müller^Jörg^^="
    sources[0].PatientName = sources[0].PatientID = ""
    assert check(written, sources) == ()


def test_problems_hold_nothing_of_the_patient(written: Dataset, sources: list[Dataset]) -> None:
    """A difference is named and its values are not: reports of problems are passed around."""
    written.PatientName, written.PatientID = "Schmidt^Anna", "Q-7"
    written.AccessionNumber, written.PatientBirthDate = "B-3", ""
    report_text = " ".join(f"{p.where} {p.what}" for p in check(written, sources))
    assert "PatientName" in report_text
    for secret in ("Schmidt", "Anna", "Müller", "Q-7", "P-1", "B-3", "A-9", "19600102"):
        assert secret not in report_text
