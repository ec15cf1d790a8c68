"""Axial T2 crops around the canal with canal and subarticular grades (`index.csv`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dicom_sr.findings import Level, Severity
from worker.datasets.tables import Table, read_table, severity_of


@dataclass(frozen=True)
class AxialRow:
    """One crop: the detector's box in original pixels, and up to three grades.

    The picture is the box grown about its centre to twice its width and three times its
    height, as far as the original image reaches.
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

    @property
    def corner_px(self) -> tuple[float, float]:
        """(column, row) in the original image of the picture's upper left corner."""
        x_min, y_min, x_max, y_max = self.box
        return (
            max(0.0, x_min - (x_max - x_min) / 2),
            max(0.0, y_min - (y_max - y_min)),
        )


def read_axial(folder: Path) -> Table[AxialRow]:
    """Read the index of such a folder."""

    def parse(record: Mapping[str, str]) -> AxialRow:
        x_min, y_min, x_max, y_max = (
            float(record[name]) for name in ("x_min", "y_min", "x_max", "y_max")
        )
        if x_max <= x_min or y_max <= y_min:
            raise ValueError("the box is empty")
        return AxialRow(
            study_id=record["study_id"],
            series_id=record["series_id"],
            instance_number=int(record["instance_number"]),
            path=folder / record["file"],
            level=Level(record["level"]),
            box=(x_min, y_min, x_max, y_max),
            original=(float(record["image_height"]), float(record["image_width"])),
            canal=severity_of(record["spinal_canal_stenosis"]),
            left=severity_of(record["left_subarticular_stenosis"]),
            right=severity_of(record["right_subarticular_stenosis"]),
        )

    return read_table(folder / "index.csv", parse)
