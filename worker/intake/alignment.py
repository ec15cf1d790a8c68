"""Whether an axial stack lies as its headers say, by its pixels and those of a sagittal stack.

A patient who was taken off the table between two series has moved, and the levels of one series
are not those of the other. Frames of reference tell that only where the console sets them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, uniform_filter1d

from dicom_sr.findings import NotAssessedReason
from worker.domain.geometry import Plane, Vector
from worker.domain.study import Repair, RepairKind, Role
from worker.domain.volume import Volume, Volumes
from worker.intake.space import frames_contradict

REACH_MM: Final = 60.0
"""How far along the body another place is looked for: two disc spacings."""

HALF_SPACING_MM: Final = 15.0
"""Half the distance of two discs: beyond it a slice belongs to another level."""
HERE_MM: Final = 8.0
"""How far a patient who stays on the table moves: measured 4 mm at most in two real studies."""
MIN_PROOF: Final = 0.3
"""The least correlation that proves a place: measured .56 and more in the same studies."""
CLEARLY: Final = 0.05
"""How much better another place must fit. Where series fit, the best place beyond half a spacing
is worse by .02 to .3: two real studies and eight phantoms."""

BETTER_MIRRORED: Final = 0.015
"""How much better left and right exchanged must fit T2: a spine is nearly symmetric. Where sides
are right they fit worse by .02 to .17: two real studies and 40 phantoms. T1 tells less."""

_AXIAL_SLICES: Final = 12
_SAGITTAL_SLICES: Final = 3
_HALF_LINE_MM: Final = 110.0
_MIN_SAMPLES: Final = 60
_MIN_LINES: Final = 6
_THICKNESS_MM: Final = 4
"""A usual thickness of axial slices: the sagittal stack is averaged over it along the body."""


@dataclass(frozen=True)
class Fit:
    """How well axial slices fit a sagittal stack when they are moved along the body.

    `shifts_mm` counts towards the head, `scores` are mean correlations (-1 to 1), of `lines`
    common lines. Shapes (shifts,).
    """

    shifts_mm: NDArray[np.float64]
    scores: NDArray[np.float64]
    lines: int

    @property
    def best_mm(self) -> float:
        """The shift with the highest score."""
        return float(self.shifts_mm[np.argmax(self.scores)])

    def near(self, shift_mm: float, within_mm: float) -> float:
        """The highest score within a distance of a shift."""
        return float(self.scores[np.abs(self.shifts_mm - shift_mm) <= within_mm].max())

    def beyond(self, shift_mm: float, distance_mm: float) -> float:
        """The highest score farther than a distance from a shift."""
        return float(self.scores[np.abs(self.shifts_mm - shift_mm) > distance_mm].max())


def in_one_space(volumes: Volumes) -> Volumes:
    """The volumes without series that lie at another height, or turned, against their headers.

    Axial series are compared with sagittal T2, sagittal T1 with the axial series. A series whose
    frame of reference contradicts the other's must prove that it fits; any other is refused only
    where it fits elsewhere clearly better.
    """
    frames = list({v.series_instance_uid: v.frame_of_reference_uid for v in volumes.all}.values())
    sagittal = (volumes.sagittal_t2 or volumes.sagittal_t1)[:1]
    by_series: defaultdict[str, list[Volume]] = defaultdict(list)
    for volume in volumes.axial_t2:
        by_series[volume.series_instance_uid].append(volume)
    fitting = [
        series
        for series in by_series.values()
        if not sagittal or _fit_each_other(series, sagittal[0], frames)
    ]
    turned = {
        series[0].series_instance_uid
        for series in fitting
        if sagittal and is_turned(series, sagittal[0])
    }
    axial = tuple(
        volume
        for series in fitting
        for volume in series
        if volume.series_instance_uid not in turned
    )
    t1 = volumes.sagittal_t1
    if t1 and volumes.sagittal_t2 and axial and not _fit_each_other(axial, t1[0], frames):
        t1 = ()
    absent = {}
    if volumes.sagittal_t1 and not t1:
        absent[Role.SAGITTAL_T1] = NotAssessedReason.NOT_SAME_SPACE
    if volumes.axial_t2 and not axial:
        absent[Role.AXIAL_T2] = (
            NotAssessedReason.ORIENTATION_IN_DOUBT if turned else NotAssessedReason.NOT_SAME_SPACE
        )
    kept = replace(volumes, sagittal_t1=t1, axial_t2=axial, absent=absent)
    return replace(kept, repairs=(*volumes.repairs, *_left_out(volumes, kept, turned)))


def _left_out(volumes: Volumes, kept: Volumes, turned: Collection[str]) -> list[Repair]:
    """One record for each series that is not used."""
    used = {volume.series_instance_uid for volume in kept.all}
    slices: Counter[str] = Counter()
    for volume in volumes.all:
        if volume.series_instance_uid not in used:
            slices[volume.series_instance_uid] += len(volume.slices)
    return [
        Repair(RepairKind.PART, uid, count, _TURNED if uid in turned else _MOVED)
        for uid, count in sorted(slices.items())
    ]


_MOVED: Final = "the pixels fit another height than the headers say"
_TURNED: Final = "the pixels fit another orientation than the headers say"


def _fit_each_other(
    axial: Sequence[Volume], sagittal: Volume, frames: Sequence[str | None]
) -> bool:
    contradicted = frames_contradict(
        axial[0].frame_of_reference_uid, sagittal.frame_of_reference_uid, frames
    )
    fit = fit_along_body(axial, sagittal)
    if fit is None:
        return not contradicted
    here, elsewhere = fit.near(0, HERE_MM), fit.beyond(0, HALF_SPACING_MM)
    if contradicted:
        return here >= MIN_PROOF and here > elsewhere
    return elsewhere <= here + CLEARLY


def is_turned(axial: Sequence[Volume], sagittal: Volume) -> bool:
    """Whether axial slices fit a sagittal stack better when they are turned than as they are.

    Turned back to front, head to feet, left to right, or two of these.
    """
    shifts_mm = np.arange(-HERE_MM, HERE_MM + 1)

    def score(volumes: Sequence[Volume]) -> float:
        fit = fit_along_body(volumes, sagittal, shifts_mm)
        return -1.0 if fit is None else float(fit.scores.max())

    here = score(axial)
    reversed_order = _head_to_feet(axial)
    turned = [
        *(_flipped(axial, axes) for axes in ((1,), (1, 2))),
        *(() if reversed_order is None else (reversed_order, _flipped(reversed_order, (2,)))),
    ]
    mirrored = score(_flipped(axial, (2,)))
    limit = BETTER_MIRRORED if sagittal.role is Role.SAGITTAL_T2 else CLEARLY
    return mirrored > here + limit or max(map(score, turned)) > here + CLEARLY


def _flipped(volumes: Sequence[Volume], axes: tuple[int, ...]) -> list[Volume]:
    """The volumes with the pixels of every slice reversed: 1 along rows, 2 along columns."""
    return [replace(volume, pixels=np.flip(volume.pixels, axes)) for volume in volumes]


def _head_to_feet(volumes: Sequence[Volume]) -> list[Volume] | None:
    """The volumes with the pictures at the places in reverse order; None where shapes differ."""
    pictures = [picture for volume in volumes for picture in volume.pixels]
    if len({picture.shape for picture in pictures}) > 1:
        return None
    heights_mm = [plane.centre_mm[2] for volume in volumes for plane in volume.planes]
    order = np.argsort(heights_mm, kind="stable")
    moved = dict(zip(order.tolist(), order[::-1].tolist(), strict=True))
    indices = iter(range(len(pictures)))
    return [
        replace(volume, pixels=np.stack([pictures[moved[next(indices)]] for _ in volume.planes]))
        for volume in volumes
    ]


_SHIFTS_MM: Final = np.arange(-REACH_MM, REACH_MM + 1)


def fit_along_body(
    axial: Sequence[Volume], sagittal: Volume, shifts_mm: NDArray[np.float64] = _SHIFTS_MM
) -> Fit | None:
    """Compare intensities where axial and sagittal slices cross, for shifts along the body.

    Their correlation along common lines, from belly to back, is highest where they show the same
    height, also between T1 and T2 weighting. None where too few slices cross.
    """
    slices = [(volume, index) for volume in axial for index in range(len(volume.slices))]
    chosen = [slices[i] for i in _spread(len(slices), _AXIAL_SLICES)]
    middle = len(sagittal.slices) // 2
    first = max(0, middle - _SAGITTAL_SLICES // 2)
    sides = range(first, min(len(sagittal.slices), first + _SAGITTAL_SLICES))
    found = [
        scores
        for (volume, index), side in product(chosen, sides)
        if (scores := _line_scores(volume, index, sagittal, side, shifts_mm)) is not None
    ]
    if len(found) < _MIN_LINES:
        return None
    table = np.array(found)
    known = np.isfinite(table).sum(axis=0)
    scores = np.where(known >= len(found) / 2, np.nansum(table, axis=0) / np.maximum(known, 1), -1)
    return Fit(shifts_mm, scores, len(found))


def _spread(count: int, wanted: int) -> list[int]:
    """Up to `wanted` indices, evenly from all."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, wanted))})


def _line_scores(
    volume: Volume, index: int, sagittal: Volume, side: int, shifts_mm: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """The correlation of one pair of slices at each shift, NaN where too little is shared."""
    across, along = volume.planes[index], sagittal.planes[side]
    line = _common_line(across, along)
    if line is None:
        return None
    here = _sample(volume.pixels[index], across, line)
    if np.isfinite(here).sum() < _MIN_SAMPLES:
        return None
    moved = line[None] + shifts_mm[:, None, None] * np.array([0.0, 0.0, 1.0])
    there = _sample(sagittal.pixels[side], along, moved.reshape(-1, 3)).reshape(moved.shape[:2])
    there = uniform_filter1d(there, _THICKNESS_MM, axis=0, mode="nearest")
    return _correlations(here, there)


def _common_line(one: Plane, other: Plane) -> Vector | None:
    """Points on both planes, 1 mm apart, shape (points, 3); None for parallel planes."""
    direction = np.cross(one.normal, other.normal)
    length = float(np.linalg.norm(direction))
    if length < 0.5:
        return None
    direction /= length
    equations = np.stack([one.normal, other.normal, direction])
    offsets = np.array([one.offset_mm, other.offset_mm, float(direction @ other.centre_mm)])
    start = np.linalg.solve(equations, offsets)
    steps = np.arange(-_HALF_LINE_MM, _HALF_LINE_MM + 1)
    points: Vector = start + steps[:, None] * direction
    return points


def _sample(pixels: NDArray[np.float32], plane: Plane, points_mm: Vector) -> NDArray[np.float64]:
    """The intensities at points on a slice, shape (points,); NaN outside."""
    offsets = points_mm - np.array(plane.position_mm)
    columns = offsets @ np.array(plane.along_columns) / plane.column_spacing_mm
    rows = offsets @ np.array(plane.along_rows) / plane.row_spacing_mm
    values: NDArray[np.float64] = map_coordinates(
        pixels, (rows, columns), order=1, cval=np.nan, output=np.float64
    )
    return values


def _correlations(here: NDArray[np.float64], there: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's correlation of a line with each row of lines, over samples that both have."""
    shared = np.isfinite(there) & np.isfinite(here)[None]
    count = shared.sum(axis=1)
    a = np.where(shared, np.nan_to_num(here)[None], 0.0)
    b = np.where(shared, np.nan_to_num(there), 0.0)
    total = np.maximum(count, 1)
    a = np.where(shared, a - (a.sum(axis=1) / total)[:, None], 0.0)
    b = np.where(shared, b - (b.sum(axis=1) / total)[:, None], 0.0)
    norm = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    scores = (a * b).sum(axis=1) / np.maximum(norm, 1e-9)
    return np.where(count >= _MIN_SAMPLES, scores, np.nan)
