"""The tables of the RSNA 2024 Lumbar Spine challenge: severities and coordinates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicom_sr.findings import TARGETS, Condition, Level, Severity, Side, Target
from worker.datasets.tables import Table, read_table, severity_of


@dataclass(frozen=True)
class Coordinate:
    """One annotated point: a target on one image, x and y in pixels of the original."""

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
    """Read `train_label_coordinates.csv`."""

    def parse(record: Mapping[str, str]) -> Coordinate:
        condition, side = _CONDITIONS[record["condition"]]
        return Coordinate(
            record["study_id"],
            record["series_id"],
            int(record["instance_number"]),
            Target(condition, Level(record["level"]), side),
            float(record["x"]),
            float(record["y"]),
        )

    return read_table(folder / "train_label_coordinates.csv", parse)


def read_severities(folder: Path) -> dict[str, dict[Target, Severity]]:
    """Read `train.csv`: the labelled targets of every study; missing labels are left out."""

    def parse(record: Mapping[str, str]) -> tuple[str, dict[Target, Severity]]:
        grades = {target: severity_of(record[_column(target)]) for target in TARGETS}
        return record["study_id"], {t: s for t, s in grades.items() if s is not None}

    return dict(read_table(folder / "train.csv", parse).rows)


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


def _column(target: Target) -> str:
    level = target.level.lower().replace("/", "_")
    return "_".join(filter(None, (target.side, target.condition, level)))
