"""What became of a study, as the archive alone tells it."""

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
    """How many studies were sent, and what became of them."""

    sent: int = 0
    graded: int = 0
    recorded: int = 0
    lost: int = 0
    duplicated: int = 0


@dataclass(frozen=True)
class Fate:
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


def fate(client: httpx.Client, study: Study) -> Fate:
    """What the archive holds of a study."""
    note = client.get(NOTE.format(arrival.orthanc_study(client, study.uid)))
    return Fate(
        study,
        arrival.reports(client, study.uid),
        json.loads(note.text) if note.is_success else None,
    )


def count(fates: Iterable[Fate]) -> Count:
    """Count them."""
    fates = list(fates)
    return Count(
        sent=len(fates),
        graded=sum(fate.graded and not fate.duplicates for fate in fates),
        recorded=sum(fate.recorded and not fate.reports for fate in fates),
        lost=sum(not fate.graded and not fate.recorded for fate in fates),
        duplicated=sum(fate.duplicates for fate in fates),
    )
