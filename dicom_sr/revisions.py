"""Finds the current report of a study; reports are chained by Predecessor Documents."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom import Dataset

from dicom_sr.attributes import numbers, references, text
from dicom_sr.reader import is_lumbar_report


def current_report(headers: Iterable[Dataset], *, besides: str = "") -> Dataset | None:
    """The header of the report that no other report replaces; None where there is none.

    `headers` may contain all objects of the study. The report with the SOP Instance UID
    `besides` is ignored, so that a report that is written twice has the same predecessor.
    Of several reports the one with the highest series number is returned.
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
