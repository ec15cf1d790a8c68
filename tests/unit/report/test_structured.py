"""The identity of the Structured Report of a graded study."""

from worker import PIPELINE_VERSION
from worker.report import structured


def test_another_pipeline_version_gives_another_report(graded_study, monkeypatch):
    """The expected UID depends on the version of intake, findings and layout."""
    bundle = graded_study.report.bundle
    before = structured.expected_sr_uid(graded_study.routed, bundle)
    monkeypatch.setattr(structured, "PIPELINE_VERSION", PIPELINE_VERSION + 1)
    assert structured.expected_sr_uid(graded_study.routed, bundle) != before
