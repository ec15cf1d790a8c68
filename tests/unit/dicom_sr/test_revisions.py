"""Which report of a study is the current one."""

from __future__ import annotations

from itertools import permutations

import pytest
from pydicom import Dataset

from dicom_sr.findings import Report
from dicom_sr.revisions import current_report, predecessors
from dicom_sr.writer import write


@pytest.fixture
def chain(report: Report, sources: list[Dataset]) -> list[Dataset]:
    """Three reports, each revising the one before it."""
    found: list[Dataset] = []
    for fingerprint in ("a", "b", "c"):
        before = found[-1] if found else None
        found.append(
            write(
                report,
                sources,
                software_version="1",
                pipeline_version=1,
                fingerprint=fingerprint,
                predecessor=before,
            )
        )
    return found


def test_the_current_report_ends_the_chain(chain, sources):
    """Whatever the order and whatever else the study holds."""
    for order in permutations(chain):
        assert current_report([*sources, *order]) is chain[-1]


def test_a_report_written_again_revises_the_same_one(chain, sources):
    """The report's own UID is looked past, and so is what only it replaces."""
    uid = str(chain[2].SOPInstanceUID)
    assert current_report([*sources, *chain], besides=uid) is chain[1]
    assert predecessors(chain[2]) == [chain[1].SOPInstanceUID]


def test_a_study_without_a_report_has_none(sources):
    """Images are no reports, nor is another system's SR."""
    other = Dataset()
    other.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.33"
    other.SOPInstanceUID = "2.25.1"
    assert current_report([*sources, other]) is None
    assert current_report([]) is None


def test_of_two_that_nobody_chained_the_higher_series_number_is_taken(chain, sources):
    """Two workers that never saw each other's report: the later one is revised next."""
    assert current_report([chain[0], chain[2]]) is chain[2]
