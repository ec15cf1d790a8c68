"""Joins the coordinates of the RSNA 2024 challenge with their DICOM images.

Studies without a folder are summed up in one problem, because the tables are also distributed
alone. A missing image, a faulty row or a point outside of its image is one problem each.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dicom_sr.findings import Condition, Side
from worker.datasets.pictures import read_plane
from worker.datasets.rsna import COORDINATES, Coordinate, read_coordinates, read_descriptions
from worker.datasets.tables import FAULTY, Table
from worker.domain.geometry import Plane, Vector
from worker.errors import BadSettings

IMAGES: Final = "train_images"
WITHOUT_IMAGES: Final = "of studies without a folder"

CENTRE: Final = 0.5
"""The coordinate of the centre of the first pixel in the tables."""

_SERIES: Final = {
    Condition.NEURAL_FORAMINAL_NARROWING: "Sagittal T1",
    Condition.SPINAL_CANAL_STENOSIS: "Sagittal T2/STIR",
    Condition.SUBARTICULAR_STENOSIS: "Axial T2",
}
"""The series on which the points of each condition are marked."""


@dataclass(frozen=True, eq=False)
class Mark:
    """An annotated point with its image."""

    coordinate: Coordinate
    path: Path
    plane: Plane

    @property
    def position_mm(self) -> Vector:
        """The patient position, shape (3,) LPS."""
        return self.plane.to_mm(self.coordinate.x - CENTRE, self.coordinate.y - CENTRE)

    @property
    def fractions(self) -> tuple[float, float]:
        """(x, y) as fractions of width and height, counted from the edge of the image."""
        return self.coordinate.x / self.plane.columns, self.coordinate.y / self.plane.rows

    @property
    def original(self) -> tuple[float, float]:
        """(height, width) of the image in pixels."""
        return float(self.plane.rows), float(self.plane.columns)

    @property
    def spacing(self) -> tuple[float, float]:
        """(row, column) size of a pixel in millimetres."""
        return self.plane.row_spacing_mm, self.plane.column_spacing_mm

    @property
    def side(self) -> Side:
        """The side; only for conditions with sides."""
        side = self.coordinate.target.side
        assert side is not None
        return side


def read_marks(folder: Path, condition: Condition) -> Table[Mark]:
    """The points of a condition whose images exist.

    Raises BadSettings when a table or the folder of images is missing.
    """
    if not (folder / IMAGES).is_dir():
        raise BadSettings(
            f"{folder} has no {IMAGES}; name a folder in the layout of the RSNA 2024 challenge"
        )
    coordinates, descriptions = read_coordinates(folder), read_descriptions(folder)
    described = dict(descriptions.rows)
    table = folder / COORDINATES
    images = _Images(folder / IMAGES)
    rows, lines = [], []
    problems = [*coordinates.problems, *descriptions.problems]
    skipped = Counter(coordinates.skipped) + Counter(descriptions.skipped)
    absent: list[tuple[str, int]] = []
    for row, line in zip(coordinates.rows, coordinates.lines, strict=True):
        if row.target.condition is not condition:
            continue
        if not images.has(row.study_id):
            absent.append((row.study_id, line))
            continue
        try:
            if described.get((row.study_id, row.series_id)) != _SERIES[condition]:
                raise ValueError(f"series {row.series_id} is not described as {_SERIES[condition]}")
            path, plane = images.of(row)
            if not (0 <= row.x <= plane.columns and 0 <= row.y <= plane.rows):
                raise ValueError(f"point ({row.x:g}, {row.y:g}) lies outside the image")
        except (OSError, ValueError) as error:
            problems.append(f"{table}:{line}: {error}")
            skipped[FAULTY] += 1
            continue
        rows.append(Mark(row, path, plane))
        lines.append(line)
    if absent:
        studies = {study for study, _ in absent}
        problems.append(
            f"{table}:{absent[0][1]}: {len(studies)} studies have no folder in {folder / IMAGES}; "
            f"{len(absent)} points of {condition.label} left out"
        )
        skipped[WITHOUT_IMAGES] = len(absent)
    return Table(tuple(rows), tuple(problems), dict(skipped), tuple(lines))


@dataclass
class _Images:
    """The images of a folder; each header is read once."""

    folder: Path
    _studies: dict[str, bool] = field(default_factory=dict)
    _planes: dict[Path, Plane | OSError] = field(default_factory=dict)

    def has(self, study_id: str) -> bool:
        if study_id not in self._studies:
            self._studies[study_id] = (self.folder / study_id).is_dir()
        return self._studies[study_id]

    def of(self, row: Coordinate) -> tuple[Path, Plane]:
        """The image of a point; raises OSError when it is missing or broken."""
        path = self.folder / row.study_id / row.series_id / f"{row.instance_number}.dcm"
        if path not in self._planes:
            try:
                self._planes[path] = _plane(path)
            except OSError as error:
                self._planes[path] = error
        plane = self._planes[path]
        if isinstance(plane, OSError):
            raise plane
        return path, plane


def _plane(path: Path) -> Plane:
    if not path.is_file():
        raise FileNotFoundError(f"image {path} is missing")
    return read_plane(path)
