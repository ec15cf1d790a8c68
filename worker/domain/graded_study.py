"""A graded study: the report and the data that explain it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dicom_sr.findings import Report
from worker.domain.study import Repair, RoutedStudy
from worker.domain.volume import Volumes


@dataclass(frozen=True, eq=False)
class GradedStudy:
    """A study with its report, and everything that explains it."""

    report: Report
    routed: RoutedStudy
    volumes: Volumes
    repairs: tuple[Repair, ...]
    timings_ms: Mapping[str, float]
