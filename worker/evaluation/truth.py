"""Labels and annotated points of one study, read from the challenge's tables and images."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from dicom_sr.findings import Condition, Severity, Target
from worker.datasets.rsna import Coordinate, read_coordinates, read_severities
from worker.domain.geometry import Vector
from worker.domain.study import SliceHeader
from worker.errors import BadSettings, Rejected
from worker.intake.decoding import read_header
from worker.intake.files import dicom_files
from worker.intake.headers import read_study
from worker.intake.stacks import stacks

IMAGES: Final = ("train_images", "test_images")


@dataclass(frozen=True, eq=False)
class AnnotatedPoint:
    """An annotated point on its image; `spacing_mm` is the slice spacing of the image's stack."""

    header: SliceHeader
    column: float
    row: float
    spacing_mm: float | None

    @property
    def position_mm(self) -> Vector:
        """The patient position, shape (3,) LPS."""
        return self.header.plane.to_mm(self.column, self.row)


@dataclass(frozen=True, eq=False)
class Truth:
    """The labels of one study: severities, points, and the annotated images.

    `problems` holds one line for each label that could not be used.
    """

    study_id: str
    severities: Mapping[Target, Severity]
    points: Mapping[Target, AnnotatedPoint]
    images: StudyImages
    problems: tuple[str, ...]

    def midline_x_mm(self, target: Target) -> float | None:
        """Patient x midway between both annotated sides, else that of the canal at the level."""
        pair = [Target(target.condition, target.level, side) for side in target.condition.sides]
        if target.side is not None and all(side in self.points for side in pair):
            return float(np.mean([self.points[side].position_mm[0] for side in pair]))
        canal = self.points.get(Target(Condition.SPINAL_CANAL_STENOSIS, target.level))
        return None if canal is None else float(canal.position_mm[0])


@dataclass(frozen=True, eq=False)
class StudyImages:
    """The slices of one study by the challenge's keys and by those of a report.

    Keys of `named` are (series folder, instance number), keys of `reported` are (Series
    Instance UID, instance number, frame). `spacing_mm` covers stacks of at least two slices.
    """

    named: dict[tuple[str, int], SliceHeader] = field(default_factory=dict)
    reported: dict[tuple[str, int | None, int | None], SliceHeader] = field(default_factory=dict)
    spacing_mm: dict[SliceHeader, float] = field(default_factory=dict)


def read_truth(study_uid: str, folder: Path) -> Truth:
    """Read the labels of a study from a folder in the layout of the RSNA 2024 challenge.

    Its study id is the Study Instance UID or the last component of it. Raises BadSettings if
    the tables are missing or do not contain the study; without images there are no points.
    """
    study_id, severities, rows = _labels(study_uid, folder)
    images, problems = _images(study_id, folder)
    points: dict[Target, AnnotatedPoint] = {}
    for row in rows:
        header = images.named.get((row.series_id, row.instance_number))
        if header is not None:
            spacing = images.spacing_mm.get(header)
            # The challenge measures from the image's edge, planes from the first pixel's centre.
            points.setdefault(row.target, AnnotatedPoint(header, row.x - 0.5, row.y - 0.5, spacing))
        elif images.named:
            where = f"image {row.instance_number} of series {row.series_id}"
            problems.append(f"{row.target}: {where} is missing")
    return Truth(study_id, severities, points, images, tuple(problems))


@lru_cache(maxsize=1)
def _tables(
    folder: Path,
) -> tuple[Mapping[str, Mapping[Target, Severity]], Mapping[str, tuple[Coordinate, ...]]]:
    """The labels and points by study, cached because reading them per study would be slow."""
    severities = read_severities(folder)
    coordinates: dict[str, list[Coordinate]] = defaultdict(list)
    for row in read_coordinates(folder).rows:
        coordinates[row.study_id].append(row)
    return severities, {study: tuple(rows) for study, rows in coordinates.items()}


def _labels(
    study_uid: str, folder: Path
) -> tuple[str, Mapping[Target, Severity], tuple[Coordinate, ...]]:
    severities, coordinates = _tables(folder)
    for study_id in (study_uid, study_uid.rpartition(".")[2]):
        rows = coordinates.get(study_id, ())
        if study_id in severities or rows:
            return study_id, severities.get(study_id, {}), rows
    raise BadSettings(f"study {study_uid} is not in the tables of {folder}")


def _images(study_id: str, folder: Path) -> tuple[StudyImages, list[str]]:
    images = StudyImages()
    images_folder = next((f for name in IMAGES if (f := folder / name / study_id).is_dir()), None)
    if images_folder is None:
        return images, [f"no images of study {study_id}: distances are not computed"]
    try:
        study = read_study([read_header(str(path), path) for path in dicom_files(images_folder)])
    except Rejected as error:
        return images, [f"images of study {study_id}: {error}; distances are not computed"]
    for series in study.series:
        for header in series.slices:
            number = header.instance_number
            images.reported[series.series_instance_uid, number, header.image.frame] = header
            if number is not None:
                images.named[Path(header.key).parent.name, number] = header
        for stack in stacks(series.slices)[0]:
            offsets = [stack[0].plane.distance_mm(header.plane.to_mm(0, 0)) for header in stack]
            gaps = [gap for gap in np.diff(offsets) if gap > 0]
            if gaps:
                images.spacing_mm.update(dict.fromkeys(stack, float(statistics.median(gaps))))
    return images, []
