"""Training samples from phantoms, cut by the worker's own functions.

Real pictures are foramina on T1 and crops on T2; phantoms add what they lack: whole axial
slices, midline T1, both structures on one slice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import Condition, Level, Side, Target
from worker.domain.crop import Crop, Window, cut
from worker.domain.geometry import Vector
from worker.domain.study import Role
from worker.grade import crops
from worker.grade.crop_windows import AXIAL_SHAPE, FORAMINAL_SHAPE, CropOptions, widened
from worker.localise.heatmaps import windows
from worker.localise.heatmaps.windows import AXIAL_POINTS, SAGITTAL_POINTS, AxialPoint, Structure
from worker.phantom.anatomy import SEGMENT_OF, draw_anatomy
from worker.phantom.lesions import Prevalence
from worker.phantom.protocol import SliceCounts
from worker.phantom.study import Phantom, PhantomSeries, make_phantom, target_places
from worker.training.real import (
    AXIAL_GRADE_HEADS,
    FORAMINAL_HEADS,
    GRADE_CONTEXT,
    POINT_CONTEXT,
    SAGITTAL_HEADS,
)
from worker.training.samples import (
    ABSENT,
    DEFAULT_OPTIONS,
    PRESENT,
    UNKNOWN,
    GradeSet,
    PointSet,
    SampleOptions,
    grade_set,
    join,
    point_set,
    to_grey,
    to_greys,
)

SLICES: Final = SliceCounts(11, 9, 20)

SEEN_MM: Final = {
    Structure.DISC: (12.0, 30.0),
    Structure.CANAL: (4.0, 11.0),
    Structure.FORAMEN: (3.5, 9.0),
}
"""A structure shows on slices within the first distance, certainly not beyond the second."""


PhantomSamples = Mapping[str, PointSet | GradeSet]
"""What one or many phantoms give to each network, by the name of its samples."""


def save_samples(samples: PhantomSamples, path: Path) -> None:
    """Keep samples in a file, to be loaded instead of rendered again."""
    arrays = {
        f"{name}/{field.name}": np.asarray(getattr(part, field.name))
        for name, part in samples.items()
        for field in fields(part)
    }
    # Whole or not at all: half a file of an interrupted run must not be loaded.
    half = path.with_suffix(".half.npz")
    np.savez(half, allow_pickle=False, **arrays)
    half.replace(path)


def load_samples(path: Path) -> PhantomSamples:
    """The samples in a file of `save_samples`."""
    parts: dict[str, dict[str, Any]] = defaultdict(dict)
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays.files:
            name, field = key.split("/")
            value = arrays[key]
            parts[name][field] = tuple(value.tolist()) if value.dtype.kind == "U" else value
    return {
        name: (GradeSet if "labels" in values else PointSet)(**values)
        for name, values in parts.items()
    }


def phantom_samples(
    seed: int, prevalence: Prevalence, options: SampleOptions = DEFAULT_OPTIONS
) -> PhantomSamples:
    """The samples of one phantom."""
    phantom = make_phantom(seed, slices=SLICES, prevalence=prevalence)
    places = target_places(draw_anatomy(seed))
    study = f"phantom{seed}"
    canals = {
        target.level: place
        for target, place in places.items()
        if target.condition is Condition.SPINAL_CANAL_STENOSIS
    }
    recesses = {
        level: {side: places[Target(Condition.SUBARTICULAR_STENOSIS, level, side)] for side in Side}
        for level in Level
    }
    axial = [
        _nearest(phantom.of(Role.AXIAL_T2), (both[Side.LEFT] + both[Side.RIGHT]) / 2)
        for both in recesses.values()
    ]
    spacing_mm = options.crops.level_spacing(canals) or options.crops.nominal_spacing_mm
    axial_series = phantom.of(Role.AXIAL_T2)
    return {
        windows.SAGITTAL: join(
            [
                _sagittal(phantom.of(role), places, seed, study)
                for role in (Role.SAGITTAL_T1, Role.SAGITTAL_T2)
            ]
        ),
        windows.AXIAL: _axial_points(
            axial_series, axial, list(recesses.values()), study, options.heatmaps.axial_window_mm
        ),
        crops.FORAMINAL: _foraminal(phantom, spacing_mm, study, options.crops),
        crops.AXIAL: _axial_grades(phantom, axial, recesses, study, options.crops),
    }


def join_samples(parts: Iterable[PhantomSamples]) -> PhantomSamples:
    """The samples of many phantoms."""
    all_parts: list[Mapping[str, Any]] = list(parts)
    return {name: join([part[name] for part in all_parts]) for name in all_parts[0]}


def _nearest(series: PhantomSeries, position_mm: Vector) -> int:
    return int(np.argmin([abs(plane.distance_mm(position_mm)) for plane in series.planes]))


def _sagittal(
    series: PhantomSeries, places: dict[Target, Vector], seed: int, study: str
) -> PointSet:
    anatomy = draw_anatomy(seed)
    images, points, states = [], [], []
    for plane, pixels in zip(series.planes, series.pixels, strict=True):
        window = windows.whole_window(plane.rows, plane.columns, plane.grid)
        crop = cut(pixels.astype(np.float32), window, windows.SAGITTAL_SHAPE)
        point = np.zeros((len(SAGITTAL_POINTS), 2), dtype=np.float32)
        state = np.full(len(SAGITTAL_POINTS), UNKNOWN, dtype=np.int8)
        for n, (structure, level) in enumerate(SAGITTAL_POINTS):
            candidates = _places_of(structure, level, places)
            if structure is Structure.DISC:
                segment = SEGMENT_OF[level]
                depth = float(anatomy.body_depth_mm[segment])
                s_mm = float(anatomy.disc_s_mm[segment])
                candidates = [anatomy.to_patient(0.0, -depth / 2, s_mm)]
            nearest = min(candidates, key=lambda place: abs(plane.distance_mm(place)))
            distance = abs(plane.distance_mm(nearest))
            seen, gone = SEEN_MM[structure]
            state[n] = PRESENT if distance <= seen else ABSENT if distance > gone else UNKNOWN
            point[n] = crop.to_crop_px(*plane.to_px(nearest))
        images.append(to_grey(crop.pixels))
        points.append(point)
        states.append(state)
    return point_set(SAGITTAL_HEADS, images, points, states, [study] * len(images))


def _places_of(structure: Structure, level: Level, places: dict[Target, Vector]) -> list[Vector]:
    condition = (
        Condition.SPINAL_CANAL_STENOSIS
        if structure is Structure.CANAL
        else Condition.NEURAL_FORAMINAL_NARROWING
    )
    return [places[Target(condition, level, side)] for side in condition.sides]


def _axial_points(
    series: PhantomSeries,
    slices: Sequence[int],
    recesses: Sequence[dict[Side, Vector]],
    study: str,
    window_mm: float,
) -> PointSet:
    shape = widened(windows.AXIAL_SHAPE, POINT_CONTEXT)
    images, points = [], []
    for index, both in zip(slices, recesses, strict=True):
        plane = series.planes[index]
        left, right = (plane.to_px(both[side]) for side in Side)
        middle = ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2)
        window = windows.canal_window(
            *middle,
            window_mm * POINT_CONTEXT,
            plane.grid,
        )
        crop = cut(series.pixels[index].astype(np.float32), window, shape)
        named = {
            AxialPoint.CANAL: middle,
            AxialPoint.LEFT_RECESS: left,
            AxialPoint.RIGHT_RECESS: right,
        }
        images.append(to_grey(crop.pixels))
        points.append(np.array([crop.to_crop_px(*named[name]) for name in AXIAL_POINTS]))
    states = [np.full(len(AXIAL_POINTS), PRESENT, dtype=np.int8)] * len(images)
    return point_set(AXIAL_POINTS, images, points, states, [study] * len(images))


def _foraminal(phantom: Phantom, spacing_mm: float, study: str, options: CropOptions) -> GradeSet:
    series = phantom.of(Role.SAGITTAL_T1)
    by_x = sorted(range(len(series.planes)), key=lambda n: series.planes[n].position_mm[0])
    images, labels = [], []
    for target, truth in phantom.points.items():
        if target.condition is not Condition.NEURAL_FORAMINAL_NARROWING:
            continue
        plane = series.planes[truth.index]
        window = options.foraminal_window(
            truth.image_point.column,
            truth.image_point.row,
            spacing_mm,
            plane.grid,
            context=GRADE_CONTEXT,
        )
        outward = 1 if target.side is Side.LEFT else -1
        cut_beside = partial(_cut_beside, series, by_x, by_x.index(truth.index), window)
        images.append(to_greys(crops.neighbours(cut_beside, outward)))
        labels.append([phantom.severities[target].rank])
    return grade_set(FORAMINAL_HEADS, images, labels, [study] * len(images))


def _cut_beside(
    series: PhantomSeries, by_x: Sequence[int], place: int, window: Window, step: int
) -> Crop | None:
    """The crop of the slice some steps to the patient's left; None beyond the series."""
    if not 0 <= place + step < len(by_x):
        return None
    shape = widened(FORAMINAL_SHAPE, GRADE_CONTEXT)
    return cut(_slice(series, by_x[place + step]), window, shape)


def _axial_grades(
    phantom: Phantom,
    slices: Sequence[int],
    recesses: dict[Level, dict[Side, Vector]],
    study: str,
    options: CropOptions,
) -> GradeSet:
    series = phantom.of(Role.AXIAL_T2)
    shape = widened(AXIAL_SHAPE, GRADE_CONTEXT)
    images, labels = [], []
    for (level, both), index in zip(recesses.items(), slices, strict=True):
        plane = series.planes[index]
        window = options.axial_window(
            *plane.to_px((both[Side.LEFT] + both[Side.RIGHT]) / 2),
            float(np.linalg.norm(both[Side.LEFT] - both[Side.RIGHT])),
            plane.grid,
            context=GRADE_CONTEXT,
        )
        images.append(to_greys([cut(_slice(series, index), window, shape)]))
        targets = [Target(Condition.SPINAL_CANAL_STENOSIS, level)]
        targets += [Target(Condition.SUBARTICULAR_STENOSIS, level, side) for side in Side]
        labels.append([phantom.severities[target].rank for target in targets])
    return grade_set(AXIAL_GRADE_HEADS, images, labels, [study] * len(images))


def _slice(series: PhantomSeries, index: int) -> NDArray[np.float32]:
    pixels: NDArray[np.float32] = series.pixels[index].astype(np.float32)
    return pixels
