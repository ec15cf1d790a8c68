"""Which of a study's reports is the current one: reports are chained by their predecessors."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom import Dataset

from dicom_sr.attributes import numbers, references, text
from dicom_sr.reader import is_lumbar_report


def current_report(headers: Iterable[Dataset], *, besides: str = "") -> Dataset | None:
    """The header of the study's report that no other report replaces; None where there is none.

    `headers` may hold whatever the study holds. The report with the SOP Instance UID `besides`
    and what it replaces count as if it were not there: so a report that is written twice names
    the same predecessor twice. Of several the one of the highest series number is taken.
    """
    reports = {
        text(header, "SOPInstanceUID"): header
        for header in headers
        if is_lumbar_report(header) and text(header, "SOPInstanceUID") not in ("", besides)
    }
    replaced = {uid for report in reports.values() for uid in predecessors(report)}
    return max(
        (report for uid, report in reports.items() if uid not in replaced),
        key=lambda report: (numbers(report, "SeriesNumber"), text(report, "SOPInstanceUID")),
        default=None,
    )


def predecessors(report: Dataset) -> list[str]:
    """The SOP Instance UIDs of the documents that a report replaces (PS3.3 C.17.2.3)."""
    return [uid for _, uid in references(report, "PredecessorDocumentsSequence")]
