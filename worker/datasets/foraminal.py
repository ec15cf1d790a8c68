"""Sagittal T1 slices with foraminal grades and points (a folder with `index.csv`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dicom_sr.findings import Level, Severity, Side
from worker.datasets.tables import Table, read_table, severity_of


@dataclass(frozen=True)
class ForaminalRow:
    """One annotated foramen: where it is, on which slice, and its grade.

    `x_fraction` and `y_fraction` are of the original width and height; `original` is that
    (height, width).
    """

    study_id: str
    series_id: str
    instance_number: int
    path: Path
    side: Side
    level: Level
    severity: Severity
    x_fraction: float
    y_fraction: float
    original: tuple[float, float]

    @property
    def physical(self) -> tuple[float, float]:
        """(x, y) in original pixels, the unit in which distances between points compare."""
        return self.x_fraction * self.original[1], self.y_fraction * self.original[0]


def read_foraminal(folder: Path) -> Table[ForaminalRow]:
    """Read the index of such a folder; duplicate points are dropped, the first kept."""
    seen: set[tuple[str, str, int, str, str]] = set()

    def parse(record: Mapping[str, str]) -> ForaminalRow | None:
        severity = severity_of(record["severity"])
        key = (
            record["study_id"],
            record["series_id"],
            int(record["instance_number"]),
            record["side"],
            record["level"],
        )
        if severity is None or key in seen:
            return None
        seen.add(key)
        fractions = float(record["x_fraction"]), float(record["y_fraction"])
        if not all(0 <= f <= 1 for f in fractions):
            raise ValueError(f"point {fractions} lies outside the image")
        return ForaminalRow(
            study_id=record["study_id"],
            series_id=record["series_id"],
            instance_number=int(record["instance_number"]),
            path=folder / record["file"],
            side=Side(record["side"]),
            level=Level(record["level"]),
            severity=severity,
            x_fraction=fractions[0],
            y_fraction=fractions[1],
            original=(float(record["height"]), float(record["width"])),
        )

    return read_table(folder / "index.csv", parse)


def pool_by_side(
    rows: Iterable[ForaminalRow],
) -> dict[tuple[str, str, Side], dict[Level, ForaminalRow]]:
    """The foramina of one side of one series, by level."""
    pooled: dict[tuple[str, str, Side], dict[Level, ForaminalRow]] = defaultdict(dict)
    for row in rows:
        pooled[row.study_id, row.series_id, row.side][row.level] = row
    return dict(pooled)
