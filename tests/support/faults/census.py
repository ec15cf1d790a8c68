"""The state of a study, from the archive alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from pydicom import Dataset

from deploy.demo import arrival
from dicom_sr import reader
from dicom_sr.revisions import predecessors
from tests.support.faults.studies import Study

NOTE = "/studies/{}/metadata/4931"


@dataclass(frozen=True)
class Count:
    """How many studies were sent, graded, recorded, lost and duplicated."""

    sent: int = 0
    graded: int = 0
    recorded: int = 0
    lost: int = 0
    duplicated: int = 0


@dataclass(frozen=True)
class StudyState:
    """The reports that the archive holds of a study, and the record that it keeps of it."""

    study: Study
    reports: Sequence[Dataset]
    record: dict[str, Any] | None

    @property
    def current(self) -> list[Dataset]:
        """The reports that no other replaces."""
        replaced = {uid for report in self.reports for uid in predecessors(report)}
        return [report for report in self.reports if report.SOPInstanceUID not in replaced]

    @property
    def graded(self) -> bool:
        """Whether there is a current report about all images."""
        return any(
            evidence(report) == {uid for uid, _ in self.study.images} for report in self.current
        )

    @property
    def recorded(self) -> bool:
        """Whether there is a record that says why there is no report."""
        return bool(
            self.record and self.record["kind"] in ("rejected", "failed") and self.record["reason"]
        )

    @property
    def duplicates(self) -> int:
        """Reports with the fingerprint of another, and current reports beside another."""
        same = Counter(
            (evidence(report), reader.read(report).bundle.sha256) for report in self.reports
        )
        twice = sum(times - 1 for times in same.values())
        return twice + max(0, len(self.current) - 1)


def evidence(report: Dataset) -> frozenset[str]:
    """The SOP Instance UIDs of the images that a report is about (PS3.3 C.17.2.3)."""
    return frozenset(
        str(image.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for image in series.ReferencedSOPSequence
    )


def state_of(client: httpx.Client, study: Study) -> StudyState:
    """The state of a study in the archive."""
    note = client.get(NOTE.format(arrival.orthanc_study(client, study.uid)))
    return StudyState(
        study,
        arrival.reports(client, study.uid),
        json.loads(note.text) if note.is_success else None,
    )


def count(states: Iterable[StudyState]) -> Count:
    """Count them."""
    states = list(states)
    return Count(
        sent=len(states),
        graded=sum(state.graded and not state.duplicates for state in states),
        recorded=sum(state.recorded and not state.reports for state in states),
        lost=sum(not state.graded and not state.recorded for state in states),
        duplicated=sum(state.duplicates for state in states),
    )
