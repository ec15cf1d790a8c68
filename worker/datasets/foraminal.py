"""Sagittal T1 slices with foraminal grades and points (a folder with `index.csv`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicom_sr.findings import Level, Severity, Side
from worker.datasets.sides import SidedPosition, without_contradictions
from worker.datasets.tables import (
    INDEX,
    LeftOut,
    Table,
    file_of,
    integer_of,
    number_of,
    read_index,
    severity_of,
    size_of,
)

UNGRADED: Final = "without a grade"
REPEATED: Final = "a second point of one target on one image"

_COLUMNS: Final = (
    *("study_id", "series_id", "instance_number", "file", "side", "level"),
    *("x_fraction", "y_fraction", "height", "width"),
)


@dataclass(frozen=True)
class ForaminalRow:
    """One annotated foramen: its slice, its point, and its grade if it has one.

    `x_fraction` and `y_fraction` are fractions of the original width and height, counted
    from the edge of the image. `original` is that (height, width),
    `spacing` the (row, column) size of an original pixel in the unit of the picture's
    grid: millimetres of a DICOM image, 1 for a picture.
    """

    study_id: str
    series_id: str
    instance_number: int
    path: Path
    side: Side
    level: Level
    severity: Severity | None
    x_fraction: float
    y_fraction: float
    original: tuple[float, float]
    spacing: tuple[float, float] = (1.0, 1.0)

    @property
    def physical(self) -> tuple[float, float]:
        """(x, y) in the unit of the picture's grid, for distances between points."""
        height, width = self.extent
        return self.x_fraction * width, self.y_fraction * height

    @property
    def extent(self) -> tuple[float, float]:
        """(height, width) of the image in the unit of the picture's grid."""
        return self.original[0] * self.spacing[0], self.original[1] * self.spacing[1]


def read_foraminal(folder: Path, *, labelled: bool = True) -> Table[ForaminalRow]:
    """Read the index of a folder; of a repeated point the first row is kept.

    `labelled` leaves out rows that are unsuitable as labels: rows without a grade, and the
    levels of a series whose left and right slices are swapped. With False the severity
    column may be empty or absent, and every foramen is kept. Raises BadSettings where the
    index is missing.
    """
    seen: set[tuple[str, str, int, Side, Level]] = set()

    def parse(record: Mapping[str, str]) -> ForaminalRow | LeftOut:
        severity = severity_of(record.get("severity", ""))
        fractions = number_of(record, "x_fraction"), number_of(record, "y_fraction")
        if not all(0 <= f <= 1 for f in fractions):
            raise ValueError(f"point {fractions} lies outside the image")
        row = ForaminalRow(
            study_id=record["study_id"],
            series_id=record["series_id"],
            instance_number=integer_of(record, "instance_number"),
            path=file_of(folder, record),
            side=Side(record["side"]),
            level=Level(record["level"]),
            severity=severity,
            x_fraction=fractions[0],
            y_fraction=fractions[1],
            original=size_of(record, "height", "width"),
        )
        if labelled and severity is None:
            return LeftOut(UNGRADED)
        key = (row.study_id, row.series_id, row.instance_number, row.side, row.level)
        if key in seen:
            return LeftOut(REPEATED)
        seen.add(key)
        return row

    columns = (*_COLUMNS, "severity") if labelled else _COLUMNS
    table = read_index(folder, "foramina on sagittal T1 slices", columns, parse)
    if not labelled:
        return table
    # Instance numbers may run either way; left and right lie on two sides of the middle.
    return without_contradictions(table, folder / INDEX, _position, leftward=False)


def pool_by_side(
    rows: Iterable[ForaminalRow],
) -> dict[tuple[str, str, Side], dict[Level, ForaminalRow]]:
    """The foramina of one side of one series, by level."""
    pooled: dict[tuple[str, str, Side], dict[Level, ForaminalRow]] = defaultdict(dict)
    for row in rows:
        pooled[row.study_id, row.series_id, row.side][row.level] = row
    return dict(pooled)


def _position(row: ForaminalRow) -> SidedPosition:
    group = f"study {row.study_id}, series {row.series_id}"
    return SidedPosition(group, row.level, row.side, row.instance_number)
