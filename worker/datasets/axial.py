"""Axial T2 crops around the canal with canal and subarticular grades (`index.csv`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicom_sr.findings import Level, Severity
from worker.datasets.tables import (
    LeftOut,
    Table,
    file_of,
    integer_of,
    number_of,
    read_index,
    severity_of,
    size_of,
)

BOX_SPANS: Final = 1.72
"""Width of the canal's box in recess spans (median of 888 annotated crops)."""

BOX_ASPECT: Final = 0.46
"""Height of the canal's box in widths (median of 2,485 boxes)."""

UNGRADED: Final = "without any grade"
REPEATED: Final = "a second row of one level on one image"

_GRADES: Final = (
    "spinal_canal_stenosis",
    "left_subarticular_stenosis",
    "right_subarticular_stenosis",
)
_COLUMNS: Final = (
    *("study_id", "series_id", "instance_number", "file", "level"),
    *("x_min", "y_min", "x_max", "y_max", "image_height", "image_width"),
)


@dataclass(frozen=True)
class AxialRow:
    """The canal of one level on one axial slice: its box, and up to three grades.

    The picture is the box enlarged about its centre to twice its width and three times its
    height, cropped to the original image; or, with `whole`, the original image. Box and
    recesses are in pixels of the original, counted from its edge: the centre of the first
    pixel is at 0.5. `original` is its (height, width), `spacing` the (row, column)
    size of its pixels in the unit of the picture's grid: millimetres of a DICOM image, 1
    for a picture. `level_confirmed` is false where only a model assigned the level.
    """

    study_id: str
    series_id: str
    instance_number: int
    path: Path
    level: Level
    box: tuple[float, float, float, float]
    original: tuple[float, float]
    canal: Severity | None
    left: Severity | None
    right: Severity | None
    level_confirmed: bool = True
    whole: bool = False
    spacing: tuple[float, float] = (1.0, 1.0)
    left_recess: tuple[float, float] | None = None
    right_recess: tuple[float, float] | None = None

    @property
    def corner_px(self) -> tuple[float, float]:
        """(column, row) in the original image of the picture's upper left corner."""
        if self.whole:
            return (0.0, 0.0)
        x_min, y_min, x_max, y_max = self.box
        # Crops begin at whole pixels, rounded down: the width of all 2,485 pictures agrees.
        return (
            float(max(0, math.floor(x_min - (x_max - x_min) / 2))),
            float(max(0, math.floor(y_min - (y_max - y_min)))),
        )

    @property
    def span(self) -> float:
        """The distance between the lateral recesses, in the unit of the picture's grid."""
        return (self.box[2] - self.box[0]) / BOX_SPANS * self.spacing[1]


def read_axial(folder: Path, *, labelled: bool = True) -> Table[AxialRow]:
    """Read the index of a folder; of a level repeated on one image the first row is kept.

    `labelled` leaves out rows without any grade; with False the three columns of grades
    may be empty or absent. Raises BadSettings where the index is missing.
    """
    seen: set[tuple[Path, Level]] = set()

    def parse(record: Mapping[str, str]) -> AxialRow | LeftOut:
        x_min, y_min, x_max, y_max = (
            number_of(record, name) for name in ("x_min", "y_min", "x_max", "y_max")
        )
        if x_max <= x_min or y_max <= y_min:
            raise ValueError("the box is empty")
        canal, left, right = (severity_of(record.get(name, "")) for name in _GRADES)
        row = AxialRow(
            study_id=record["study_id"],
            series_id=record["series_id"],
            instance_number=integer_of(record, "instance_number"),
            path=file_of(folder, record),
            level=Level(record["level"]),
            box=(x_min, y_min, x_max, y_max),
            original=size_of(record, "image_height", "image_width"),
            canal=canal,
            left=left,
            right=right,
            level_confirmed=_yes(record.get("level_confirmed", "")),
        )
        if labelled and canal is left is right is None:
            return LeftOut(UNGRADED)
        if (row.path, row.level) in seen:
            return LeftOut(REPEATED)
        seen.add((row.path, row.level))
        return row

    columns = (*_COLUMNS, *_GRADES) if labelled else _COLUMNS
    return read_index(folder, "axial T2 crops", columns, parse)


def _yes(text: str) -> bool:
    """True or False as in the index; without the column every level is confirmed."""
    if text.strip().lower() in {"", "true", "1"}:
        return True
    if text.strip().lower() in {"false", "0"}:
        return False
    raise ValueError(f"level_confirmed is neither True nor False: {text!r}")
