"""When two reports say the same, though two machines wrote them."""

from dataclasses import replace

import pytest

from dicom_sr.findings import Graded, NotAssessedReason, Report


def changed(report: Report, **parts: object) -> Report:
    """The report with its first graded finding changed."""
    first = report.graded[0]
    findings = tuple(replace(f, **parts) if f is first else f for f in report.findings)
    return replace(report, findings=findings)


def shifted(found: Graded, by: float) -> object:
    p = found.probabilities
    return replace(p, severe=p.severe + by, normal_mild=p.normal_mild - by)


def test_arithmetic_of_another_machine_is_no_other_report(report):
    """Probabilities within 1e-3 and points within a pixel are the same statement."""
    first = report.graded[0]
    point = replace(first.point, column=first.point.column + 0.75)
    sign = -1 if first.probabilities.severe > 0.5 else 1
    assert report.agrees_with(report)
    assert report.agrees_with(changed(report, probabilities=shifted(first, sign * 5e-4)))
    assert report.agrees_with(changed(report, point=point))


@pytest.mark.parametrize(
    "what", ["probability", "point", "image", "confidence", "bundle", "reason"]
)
def test_another_statement_is_another_report(report, what):
    """More than that is another report, as are other models and another reason."""
    first = report.graded[0]
    sign = -1 if first.probabilities.severe > 0.5 else 1
    image = replace(first.point.image, sop_instance_uid="1.2.3.4")
    unsure = NotAssessedReason.UNCERTAIN
    gaps = [f for f in report.not_assessed if f.reason is not unsure]
    other = {
        "probability": lambda: changed(report, probabilities=shifted(first, sign * 5e-3)),
        "point": lambda: changed(report, point=replace(first.point, row=first.point.row + 2)),
        "image": lambda: changed(report, graded_on=image),
        "confidence": lambda: changed(report, confidence=abs(first.confidence - 0.01)),
        "bundle": lambda: replace(report, bundle=replace(report.bundle, sha256="0" * 64)),
        "reason": lambda: replace(
            report,
            findings=tuple(
                replace(f, reason=unsure) if f is gaps[0] else f for f in report.findings
            ),
        ),
    }[what]()
    assert not report.agrees_with(other)
