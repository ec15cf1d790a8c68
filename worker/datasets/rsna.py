"""The tables of the RSNA 2024 Lumbar Spine challenge: severities and coordinates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicom_sr.findings import TARGETS, Condition, Level, Severity, Side, Target
from worker.datasets.tables import (
    LeftOut,
    Row,
    Table,
    integer_of,
    number_of,
    read_table,
    severity_of,
)
from worker.errors import BadSettings

LABELS: Final = "train.csv"
COORDINATES: Final = "train_label_coordinates.csv"
DESCRIPTIONS: Final = "train_series_descriptions.csv"
REPEATED: Final = "a second point of one target on one image"


@dataclass(frozen=True)
class Coordinate:
    """One annotated point: a target on one image.

    x and y are pixels of the original, counted from the edge of the image: the centre of the
    first pixel is at 0.5. (Clicks of the annotators are whole steps from the edge where the
    image was not moved on the screen.)
    """

    study_id: str
    series_id: str
    instance_number: int
    target: Target
    x: float
    y: float


_CONDITIONS: Final = {
    "Spinal Canal Stenosis": (Condition.SPINAL_CANAL_STENOSIS, None),
    "Left Neural Foraminal Narrowing": (Condition.NEURAL_FORAMINAL_NARROWING, Side.LEFT),
    "Right Neural Foraminal Narrowing": (Condition.NEURAL_FORAMINAL_NARROWING, Side.RIGHT),
    "Left Subarticular Stenosis": (Condition.SUBARTICULAR_STENOSIS, Side.LEFT),
    "Right Subarticular Stenosis": (Condition.SUBARTICULAR_STENOSIS, Side.RIGHT),
}


def read_coordinates(folder: Path) -> Table[Coordinate]:
    """Read `train_label_coordinates.csv`; of a point repeated on one image the first row is kept.

    Raises BadSettings where it is missing.
    """
    seen: set[tuple[str, str, int, Target]] = set()

    def parse(record: Mapping[str, str]) -> Coordinate | LeftOut:
        if record["condition"] not in _CONDITIONS:
            raise ValueError(f"unknown condition {record['condition']!r}")
        condition, side = _CONDITIONS[record["condition"]]
        row = Coordinate(
            record["study_id"],
            record["series_id"],
            integer_of(record, "instance_number"),
            Target(condition, Level(record["level"]), side),
            number_of(record, "x"),
            number_of(record, "y"),
        )
        key = (row.study_id, row.series_id, row.instance_number, row.target)
        if key in seen:
            return LeftOut(REPEATED)
        seen.add(key)
        return row

    columns = ("study_id", "series_id", "instance_number", "condition", "level", "x", "y")
    return _read(folder / COORDINATES, parse, columns)


def read_labels(folder: Path) -> Table[tuple[str, Mapping[Target, Severity]]]:
    """Read `train.csv`: each study with its labelled targets; missing labels are left out.

    Raises BadSettings where it is missing.
    """

    def parse(record: Mapping[str, str]) -> tuple[str, Mapping[Target, Severity]]:
        grades = {target: severity_of(record[_column(target)]) for target in TARGETS}
        return record["study_id"], {t: s for t, s in grades.items() if s is not None}

    return _read(folder / LABELS, parse, ("study_id", *map(_column, TARGETS)))


def read_severities(folder: Path) -> dict[str, Mapping[Target, Severity]]:
    """The labelled targets of every study in `train.csv`, without faulty rows."""
    return dict(read_labels(folder).rows)


def read_descriptions(folder: Path) -> Table[tuple[tuple[str, str], str]]:
    """Read `train_series_descriptions.csv`: the description of each (study, series).

    Raises BadSettings where it is missing.
    """

    def parse(record: Mapping[str, str]) -> tuple[tuple[str, str], str]:
        return (record["study_id"], record["series_id"]), record["series_description"]

    columns = ("study_id", "series_id", "series_description")
    return _read(folder / DESCRIPTIONS, parse, columns)


def recess_points(
    coordinates: Table[Coordinate],
) -> dict[tuple[str, str, int, Level], dict[Side, tuple[float, float]]]:
    """The annotated lateral recesses by study, series, instance and level."""
    found: dict[tuple[str, str, int, Level], dict[Side, tuple[float, float]]] = defaultdict(dict)
    for row in coordinates.rows:
        target = row.target
        if target.condition is Condition.SUBARTICULAR_STENOSIS and target.side is not None:
            key = (row.study_id, row.series_id, row.instance_number, target.level)
            found[key][target.side] = (row.x, row.y)
    return dict(found)


def _read(
    path: Path, parse: Callable[[Mapping[str, str]], Row | LeftOut], columns: Sequence[str]
) -> Table[Row]:
    try:
        return read_table(path, parse, columns)
    except FileNotFoundError as error:
        raise BadSettings(
            f"{path} is missing; name a folder in the layout of the RSNA 2024 challenge"
        ) from error


def _column(target: Target) -> str:
    level = target.level.lower().replace("/", "_")
    return "_".join(filter(None, (target.side, target.condition, level)))
