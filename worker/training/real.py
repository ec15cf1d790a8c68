"""Training samples from real slices: foramina and canals, SPIDER discs, axial crops.

An image that cannot be read is logged and skipped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from dicom_sr.findings import Severity
from worker.datasets.axial import AxialRow
from worker.datasets.discs import MaskedSlice, disc_points
from worker.datasets.foraminal import ForaminalRow, pool_by_side
from worker.datasets.pictures import Picture, read_picture
from worker.datasets.rsna_rows import CanalRow
from worker.domain.crop import Crop, cut
from worker.evaluation.crops import ForaminalCrops, canal_middle, cut_axial
from worker.grade.crop_windows import widened
from worker.localise.heatmaps import windows
from worker.localise.heatmaps.windows import AXIAL_POINTS, SAGITTAL_POINTS, AxialPoint, Structure
from worker.training.samples import (
    ABSENT,
    DEFAULT_OPTIONS,
    MISSING,
    PRESENT,
    UNKNOWN,
    GradeSet,
    PointSet,
    SampleOptions,
    grade_set,
    point_set,
    to_grey,
    to_greys,
)

log = structlog.get_logger()

Row = TypeVar("Row")
Result = TypeVar("Result")

NEIGHBOUR_SLICES: Final = 1
"""A foramen is assumed to show at the same place this many slices away."""

GRADE_CONTEXT: Final = 1.35
"""How much wider than its crop a grading sample is stored, so that it can be moved."""

POINT_CONTEXT: Final = 1.5
"""The same for the axial localiser, which must find a canal far from the centre."""

SAGITTAL_HEADS: Final = windows.NETWORKS[windows.SAGITTAL].heads
FORAMINAL_HEADS: Final = ("foramen",)
AXIAL_GRADE_HEADS: Final = ("canal", "left_recess", "right_recess")
"""The labels of an axial grading sample."""


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
    slices = [by_slice[path] for path in sorted(by_slice)]
    for here, picture in _readable(slices, lambda s: read_picture(s[0].path, s[0].original)):
        height, width = picture.pixels.shape
        crop = _whole(picture)
        point, state = _nothing_known()
        state[windows.channels(Structure.CANAL)] = ABSENT
        # Both sides on one slice happens near the midline; then only its own points count.
        sides = {row.side for row in here}
        known = pooled[here[0].study_id, here[0].series_id, here[0].side] if len(sides) == 1 else {}
        for row in (*known.values(), *here):
            if abs(row.instance_number - here[0].instance_number) <= NEIGHBOUR_SLICES:
                name = SAGITTAL_POINTS.index((Structure.FORAMEN, row.level))
                place = row.x_fraction * width - 0.5, row.y_fraction * height - 0.5
                point[name], state[name] = crop.to_crop_px(*place), PRESENT
        images.append(to_grey(crop.pixels))
        points.append(point)
        states.append(state)
        studies.append(here[0].study_id)
    return point_set(SAGITTAL_HEADS, images, points, states, studies)


def disc_slices(slices: Sequence[MaskedSlice]) -> PointSet:
    """Whole T2 slices with discs and canal from the masks."""
    images, points, states, studies = [], [], [], []
    for item, (picture, found) in _readable(
        slices, lambda item: (read_picture(item.path), disc_points(item.mask))
    ):
        if not found:
            continue
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
            state[windows.channels(Structure.FORAMEN)] = ABSENT
        images.append(to_grey(crop.pixels))
        points.append(point)
        states.append(state)
        studies.append(item.study_id)
    return point_set(SAGITTAL_HEADS, images, points, states, studies)


def canal_slices(rows: Sequence[CanalRow]) -> PointSet:
    """Whole T2 slices of the midline with the canal at the levels marked; no foramen is seen."""
    images, points, states, studies = [], [], [], []
    for row, picture in _readable(rows, lambda row: read_picture(row.path)):
        height, width = picture.pixels.shape
        crop = _whole(picture)
        point, state = _nothing_known()
        state[windows.channels(Structure.FORAMEN)] = ABSENT
        for level, (x, y) in row.points.items():
            name = SAGITTAL_POINTS.index((Structure.CANAL, level))
            point[name] = crop.to_crop_px(x * width - 0.5, y * height - 0.5)
            state[name] = PRESENT
        images.append(to_grey(crop.pixels))
        points.append(point)
        states.append(state)
        studies.append(row.study_id)
    return point_set(SAGITTAL_HEADS, images, points, states, studies)


def canal_points(
    rows: Sequence[AxialRow],
    recesses: Mapping[tuple[str, str, int, str], Mapping[str, tuple[float, float]]] | None = None,
    options: SampleOptions = DEFAULT_OPTIONS,
) -> PointSet:
    """Axial slices with the canal's middle and both lateral recesses.

    `recesses` holds annotated points of the left and right recess in pixels of the
    original image, by study, series, instance and level; a row may carry them itself.
    Without both, they are taken from the box.
    """
    images, points, studies = [], [], []
    shape = widened(windows.AXIAL_SHAPE, POINT_CONTEXT)
    # The width of the window in recess spans: training pictures have no millimetres.
    spans = options.heatmaps.axial_window_mm / options.crops.nominal_span_mm
    for row, picture in _readable(rows, lambda row: read_picture(row.path)):
        middle = canal_middle(row)
        window = windows.canal_window(*middle, spans * row.span * POINT_CONTEXT, picture.grid)
        crop = cut(picture.pixels, window, shape)
        key = (row.study_id, row.series_id, row.instance_number, row.level)
        marked = (recesses or {}).get(key, {})
        left, right = marked.get("left", row.left_recess), marked.get("right", row.right_recess)
        if left is None or right is None or left[0] <= right[0]:
            half = row.span / row.spacing[1] / 2
            left, right = (middle[0] + half, middle[1]), (middle[0] - half, middle[1])
        else:
            corner = row.corner_px
            left, right = ((x - corner[0] - 0.5, y - corner[1] - 0.5) for x, y in (left, right))
            middle = (left[0] + right[0]) / 2, (left[1] + right[1]) / 2
        places = {
            AxialPoint.CANAL: middle,
            AxialPoint.LEFT_RECESS: left,
            AxialPoint.RIGHT_RECESS: right,
        }
        points.append(
            np.array([crop.to_crop_px(*places[name]) for name in AXIAL_POINTS], dtype=np.float32)
        )
        images.append(to_grey(crop.pixels))
        studies.append(row.study_id)
    states = [np.full(len(AXIAL_POINTS), PRESENT, dtype=np.int8)] * len(images)
    return point_set(AXIAL_POINTS, images, points, states, studies)


def foraminal_grades(
    rows: Sequence[ForaminalRow], options: SampleOptions = DEFAULT_OPTIONS
) -> GradeSet:
    """Crops around foramina with their grade."""
    crops = ForaminalCrops(rows, options.crops)
    images, labels, studies = [], [], []
    ordered = sorted(rows, key=lambda r: (r.study_id, str(r.path), r.level, r.side))
    for row, slices in _readable(ordered, lambda row: crops.cut(row, GRADE_CONTEXT)):
        images.append(to_greys(slices))
        labels.append([_rank(row.severity)])
        studies.append(row.study_id)
    return grade_set(FORAMINAL_HEADS, images, labels, studies)


def axial_grades(rows: Sequence[AxialRow], options: SampleOptions = DEFAULT_OPTIONS) -> GradeSet:
    """Crops around the canal with the grades of canal, left and right recess."""
    images, labels, studies = [], [], []
    for row, crop in _readable(rows, lambda row: cut_axial(row, options.crops, GRADE_CONTEXT)):
        images.append(to_greys([crop]))
        labels.append([_rank(row.canal), _rank(row.left), _rank(row.right)])
        studies.append(row.study_id)
    return grade_set(AXIAL_GRADE_HEADS, images, labels, studies)


def _readable(rows: Sequence[Row], read: Callable[[Row], Result]) -> Iterator[tuple[Row, Result]]:
    """Each row with its image; an image that cannot be read is logged and left out."""
    for row in rows:
        try:
            result = read(row)
        except OSError as error:
            log.warning("image skipped", problem=str(error))
        else:
            yield row, result


def _whole(picture: Picture) -> Crop:
    """The sagittal localiser's crop of a picture."""
    rows, columns = picture.pixels.shape
    window = windows.whole_window(rows, columns, picture.grid)
    return cut(picture.pixels, window, windows.SAGITTAL_SHAPE)


def _nothing_known() -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Places and states of the sagittal points of a slice without annotations."""
    names = len(SAGITTAL_POINTS)
    return np.zeros((names, 2), dtype=np.float32), np.full(names, UNKNOWN, dtype=np.int8)


def _rank(severity: Severity | None) -> int:
    return MISSING if severity is None else severity.rank
