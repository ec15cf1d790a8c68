"""Reads the layout of the RSNA 2024 challenge as the rows of the index folders."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from dicom_sr.findings import Condition, Level, Severity, Side, Target
from worker.datasets import axial, foraminal
from worker.datasets.axial import BOX_ASPECT, BOX_SPANS, AxialRow
from worker.datasets.foraminal import ForaminalRow
from worker.datasets.rsna import COORDINATES, read_labels
from worker.datasets.rsna_marks import CENTRE, Mark, read_marks
from worker.datasets.sides import SidedPosition, without_contradictions
from worker.datasets.tables import Table

ONE_SIDED: Final = "with one recess alone in their series"

Grades = tuple[Severity | None, Severity | None, Severity | None]
"""The grades of one level: canal, left and right recess."""


@dataclass(frozen=True)
class CanalRow:
    """One sagittal T2 or STIR slice with the centre of the canal at its marked levels.

    Points are (x, y) fractions of width and height, counted from the edge of the image;
    `original` is (height, width) in pixels, `spacing` the (row, column) size of a pixel in
    millimetres.
    """

    study_id: str
    series_id: str
    instance_number: int
    path: Path
    points: Mapping[Level, tuple[float, float]]
    original: tuple[float, float]
    spacing: tuple[float, float]


def rsna_foraminal(folder: Path) -> Table[ForaminalRow]:
    """The graded foramina on sagittal T1, one row for each point.

    Levels whose left point does not have a larger patient x than the right one are left
    out; where these are at least half of the levels of a study, all its levels are. Raises
    BadSettings when a table or the folder of images is missing.
    """
    marks, grades = _sided(folder, Condition.NEURAL_FORAMINAL_NARROWING)
    rows, lines, ungraded = [], [], 0
    for mark, line in zip(marks.rows, marks.lines, strict=True):
        at = mark.coordinate
        severity = grades.get(at.study_id, {}).get(at.target)
        if severity is None:
            ungraded += 1
            continue
        x, y = mark.fractions
        rows.append(
            ForaminalRow(
                study_id=at.study_id,
                series_id=at.series_id,
                instance_number=at.instance_number,
                path=mark.path,
                side=mark.side,
                level=at.target.level,
                severity=severity,
                x_fraction=x,
                y_fraction=y,
                original=mark.original,
                spacing=mark.spacing,
            )
        )
        lines.append(line)
    skipped = {**marks.skipped, foraminal.UNGRADED: ungraded}
    return Table(tuple(rows), marks.problems, skipped, tuple(lines))


def rsna_axial(folder: Path) -> Table[AxialRow]:
    """The graded levels on axial T2: a row for each slice on which a recess is marked.

    Both recesses must be marked within the series; one on another slice is projected through
    patient space. The box has the width of the boxes in the crop folders for the same span
    of the recesses. Sides are checked and errors raised as for `rsna_foraminal`.
    """
    marks, grades = _sided(folder, Condition.SUBARTICULAR_STENOSIS)
    levels: dict[tuple[str, str, Level], list[tuple[Mark, int]]] = defaultdict(list)
    for mark, line in zip(marks.rows, marks.lines, strict=True):
        at = mark.coordinate
        levels[at.study_id, at.series_id, at.target.level].append((mark, line))
    rows, lines, skipped = [], [], Counter(marks.skipped)
    for (study_id, _, level), here in levels.items():
        by_side: dict[Side, Mark] = {}
        by_image: dict[Path, tuple[Mark, int]] = {}
        for mark, line in here:
            by_side.setdefault(mark.side, mark)
            by_image.setdefault(mark.path, (mark, line))
        labels = _axial_grades(grades.get(study_id, {}), level)
        if len(by_side) < len(Side):
            skipped[ONE_SIDED] += len(here)
        elif labels == (None, None, None):
            skipped[axial.UNGRADED] += len(here)
        else:
            for mark, line in by_image.values():
                rows.append(_axial_row(mark, by_side, labels))
                lines.append(line)
    return Table(tuple(rows), marks.problems, dict(skipped), tuple(lines))


def rsna_canal(folder: Path) -> Table[CanalRow]:
    """The sagittal T2 and STIR slices with canal points, graded or not.

    Raises BadSettings when a table or the folder of images is missing.
    """
    marks = read_marks(folder, Condition.SPINAL_CANAL_STENOSIS)
    slices: dict[Path, list[tuple[Mark, int]]] = defaultdict(list)
    for mark, line in zip(marks.rows, marks.lines, strict=True):
        slices[mark.path].append((mark, line))
    rows = tuple(
        CanalRow(
            study_id=here[0][0].coordinate.study_id,
            series_id=here[0][0].coordinate.series_id,
            instance_number=here[0][0].coordinate.instance_number,
            path=path,
            points={mark.coordinate.target.level: mark.fractions for mark, _ in here},
            original=here[0][0].original,
            spacing=here[0][0].spacing,
        )
        for path, here in slices.items()
    )
    return Table(rows, marks.problems, marks.skipped, tuple(here[0][1] for here in slices.values()))


def _sided(
    folder: Path, condition: Condition
) -> tuple[Table[Mark], dict[str, Mapping[Target, Severity]]]:
    """The marks of a condition without contradicting sides, and all grades."""

    def place(mark: Mark) -> SidedPosition:
        at = mark.coordinate
        x_mm = float(mark.position_mm[0])
        return SidedPosition(f"study {at.study_id}", at.target.level, mark.side, x_mm)

    labels = read_labels(folder)
    marks = read_marks(folder, condition)
    marks = replace(
        marks,
        problems=(*labels.problems, *marks.problems),
        skipped=Counter(labels.skipped) + Counter(marks.skipped),
    )
    checked = without_contradictions(marks, folder / COORDINATES, place, leftward=True)
    return checked, dict(labels.rows)


def _axial_grades(grades: Mapping[Target, Severity], level: Level) -> Grades:
    """The grades of canal, left and right recess."""
    recess = Condition.SUBARTICULAR_STENOSIS
    return (
        grades.get(Target(Condition.SPINAL_CANAL_STENOSIS, level)),
        grades.get(Target(recess, level, Side.LEFT)),
        grades.get(Target(recess, level, Side.RIGHT)),
    )


def _axial_row(
    mark: Mark,
    by_side: Mapping[Side, Mark],
    labels: Grades,
) -> AxialRow:
    recesses = {}
    for side, other in by_side.items():
        column, row = mark.plane.to_px(other.position_mm)
        recesses[side] = (column + CENTRE, row + CENTRE)
    left, right = (np.array(recesses[side]) for side in Side)
    x, y = ((left + right) / 2).tolist()
    width = float(np.linalg.norm(left - right)) * BOX_SPANS
    height = width * BOX_ASPECT
    at = mark.coordinate
    canal, left_grade, right_grade = labels
    return AxialRow(
        study_id=at.study_id,
        series_id=at.series_id,
        instance_number=at.instance_number,
        path=mark.path,
        level=at.target.level,
        box=(x - width / 2, y - height / 2, x + width / 2, y + height / 2),
        original=mark.original,
        canal=canal,
        left=left_grade,
        right=right_grade,
        whole=True,
        spacing=mark.spacing,
        left_recess=recesses[Side.LEFT],
        right_recess=recesses[Side.RIGHT],
    )
