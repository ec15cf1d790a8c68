"""Training samples from real pictures: sagittal T1 foramina, SPIDER discs, axial crops."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import Level, Severity, Side
from worker.datasets.axial import AxialRow
from worker.datasets.discs import MaskedSlice, disc_points
from worker.datasets.foraminal import ForaminalRow, pool_by_side
from worker.datasets.pictures import Picture, read_picture
from worker.grade import windows as grade_windows
from worker.localise import windows as localise_windows
from worker.localise.windows import AXIAL_POINTS, SAGITTAL_POINTS, AxialPoint, Structure
from worker.nouns.crop import Crop, cut
from worker.training.samples import (
    ABSENT,
    MISSING,
    PRESENT,
    UNKNOWN,
    GradeSet,
    PointSet,
    grade_set,
    point_set,
    to_grey,
)

NEIGHBOUR_SLICES: Final = 1
"""A foramen is taken to be seen at the same place this many slices away."""

GRADE_CONTEXT: Final = 1.35
"""How much wider than its crop a grading sample is stored, so that it can be moved."""

POINT_CONTEXT: Final = 1.5
"""The same for the axial detector, which must find a canal far from the centre."""


@lru_cache(maxsize=64)
def _picture(path: str, original: tuple[float, float] | None) -> Picture:
    return read_picture(Path(path), original)


def foraminal_points(rows: Sequence[ForaminalRow]) -> PointSet:
    """Whole T1 slices with the foramina of their side.

    The points of one side are pooled over neighbouring slices, where the same foramina
    are seen unannotated. The canal is known not to be there: foramina are beside it.
    """
    pooled = pool_by_side(rows)
    by_slice: dict[str, list[ForaminalRow]] = defaultdict(list)
    for row in rows:
        by_slice[str(row.path)].append(row)
    images, points, states, studies = [], [], [], []
    for path, here in sorted(by_slice.items()):
        picture = _picture(path, here[0].original)
        shape = picture.pixels.shape
        crop = _whole(picture)
        point, state = _nothing_known()
        state[localise_windows.channels(Structure.CANAL)] = ABSENT
        # Both sides on one slice happens near the midline; then only its own points count.
        sides = {row.side for row in here}
        known = pooled[here[0].study_id, here[0].series_id, here[0].side] if len(sides) == 1 else {}
        for row in (*here, *known.values()):
            if abs(row.instance_number - here[0].instance_number) > NEIGHBOUR_SLICES:
                continue
            name = SAGITTAL_POINTS.index((Structure.FORAMEN, row.level))
            point[name] = crop.to_crop_px(
                row.x_fraction * shape[1] - 0.5, row.y_fraction * shape[0] - 0.5
            )
            state[name] = PRESENT
        images.append(np.clip(crop.pixels, 0, 255).astype(np.uint8))
        points.append(point)
        states.append(state)
        studies.append(here[0].study_id)
    return point_set(images, points, states, studies)


def disc_slices(slices: Sequence[MaskedSlice]) -> PointSet:
    """Whole T2 slices with discs and canal from the masks."""
    images, points, states, studies = [], [], [], []
    for item in slices:
        found = disc_points(item.mask)
        if not found:
            continue
        picture = read_picture(item.path)
        crop = _whole(picture)
        point, state = _nothing_known()
        for disc in found:
            places = {Structure.DISC: disc.disc, Structure.CANAL: disc.canal}
            for structure, place in places.items():
                name = SAGITTAL_POINTS.index((structure, disc.level))
                state[name] = ABSENT if place is None else PRESENT
                if place is not None:
                    point[name] = crop.to_crop_px(*place)
        if all(disc.canal is not None for disc in found):
            state[localise_windows.channels(Structure.FORAMEN)] = ABSENT
        images.append(to_grey(crop.pixels))
        points.append(point)
        states.append(state)
        studies.append(item.study_id)
    return point_set(images, points, states, studies)


def canal_points(
    rows: Sequence[AxialRow],
    recesses: Mapping[tuple[str, str, int, Level], Mapping[Side, tuple[float, float]]],
) -> PointSet:
    """Axial crops with the canal's middle and both lateral recesses.

    `recesses` holds annotated points in pixels of the original image, by study, series,
    instance and level; without both, the box stands in for them.
    """
    images, points, studies = [], [], []
    shape = grade_windows.widened(localise_windows.AXIAL_SHAPE, POINT_CONTEXT)
    for row in rows:
        picture = read_picture(row.path)
        x_min, y_min, x_max, y_max = row.box
        corner = row.corner_px
        middle = ((x_min + x_max) / 2 - corner[0], (y_min + y_max) / 2 - corner[1])
        span = (x_max - x_min) / grade_windows.BOX_SPANS
        window = localise_windows.canal_window(
            *middle, localise_windows.AXIAL_SPANS * span * POINT_CONTEXT, picture.grid
        )
        crop = cut(picture.pixels, window, shape)
        places = {
            AxialPoint.CANAL: middle,
            AxialPoint.LEFT_RECESS: (middle[0] + span / 2, middle[1]),
            AxialPoint.RIGHT_RECESS: (middle[0] - span / 2, middle[1]),
        }
        marked = recesses.get((row.study_id, row.series_id, row.instance_number, row.level), {})
        if len(marked) == len(Side) and marked[Side.LEFT][0] > marked[Side.RIGHT][0]:
            left, right = (
                (marked[side][0] - corner[0], marked[side][1] - corner[1]) for side in Side
            )
            places = {
                AxialPoint.CANAL: ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2),
                AxialPoint.LEFT_RECESS: left,
                AxialPoint.RIGHT_RECESS: right,
            }
        points.append(
            np.array([crop.to_crop_px(*places[name]) for name in AXIAL_POINTS], dtype=np.float32)
        )
        images.append(to_grey(crop.pixels))
        studies.append(row.study_id)
    states = [np.full(len(AXIAL_POINTS), PRESENT, dtype=np.int8)] * len(images)
    return point_set(images, points, states, studies)


def foraminal_grades(rows: Sequence[ForaminalRow]) -> GradeSet:
    """Crops around foramina with their grade."""
    pooled = pool_by_side(rows)
    spacings = {
        key: grade_windows.level_spacing(
            {level: np.array(row.physical) for level, row in side.items()}
        )
        for key, side in pooled.items()
    }
    images, labels, studies = [], [], []
    shape = grade_windows.widened(grade_windows.FORAMINAL_SHAPE, GRADE_CONTEXT)
    for row in sorted(rows, key=lambda r: (r.study_id, str(r.path), r.level, r.side)):
        picture = _picture(str(row.path), row.original)
        # A series with a single annotated level takes the usual share of the image.
        spacing = spacings[row.study_id, row.series_id, row.side] or 0.11 * max(row.original)
        size = picture.pixels.shape
        window = grade_windows.foraminal_window(
            row.x_fraction * size[1] - 0.5,
            row.y_fraction * size[0] - 0.5,
            spacing,
            picture.grid,
            context=GRADE_CONTEXT,
        )
        images.append(to_grey(cut(picture.pixels, window, shape).pixels))
        labels.append([row.severity.rank])
        studies.append(row.study_id)
    return grade_set(images, labels, studies)


def axial_grades(rows: Sequence[AxialRow]) -> GradeSet:
    """Crops around the canal with the grades of canal, left and right recess."""
    images, labels, studies = [], [], []
    shape = grade_windows.widened(grade_windows.AXIAL_SHAPE, GRADE_CONTEXT)
    for row in rows:
        picture = read_picture(row.path)
        x_min, y_min, x_max, y_max = row.box
        corner = row.corner_px
        window = grade_windows.axial_window(
            (x_min + x_max) / 2 - corner[0],
            (y_min + y_max) / 2 - corner[1],
            (x_max - x_min) / grade_windows.BOX_SPANS,
            picture.grid,
            context=GRADE_CONTEXT,
        )
        images.append(to_grey(cut(picture.pixels, window, shape).pixels))
        labels.append([_rank(row.canal), _rank(row.left), _rank(row.right)])
        studies.append(row.study_id)
    return grade_set(images, labels, studies)


def _whole(picture: Picture) -> Crop:
    """What the sagittal detector sees of a picture."""
    rows, columns = picture.pixels.shape
    window = localise_windows.whole_window(rows, columns, picture.grid)
    return cut(picture.pixels, window, localise_windows.SAGITTAL_SHAPE)


def _nothing_known() -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Places and states of the sagittal points of a slice nobody has looked at yet."""
    names = len(SAGITTAL_POINTS)
    return np.zeros((names, 2), dtype=np.float32), np.full(names, UNKNOWN, dtype=np.int8)


def _rank(severity: Severity | None) -> int:
    return MISSING if severity is None else severity.rank
