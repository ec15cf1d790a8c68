"""The ten neural foramina on sagittal T1, each on its side and its slice."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import Level, Side
from worker.domain.geometry import Vector
from worker.domain.points import LevelPoint
from worker.localise.heatmaps.options import HeatmapOptions
from worker.localise.heatmaps.peaks import Peak, decode_levels, prior, to_cell, to_crop
from worker.localise.heatmaps.views import SagittalView
from worker.localise.heatmaps.windows import SAGITTAL, Structure, channels
from worker.models.seam import Runner


def find_foramina(
    view: SagittalView, run: Runner, canal: Mapping[Level, Vector], options: HeatmapOptions
) -> dict[tuple[Level, Side], LevelPoint]:
    """The foramina that could be found on a sagittal T1 volume.

    `canal` holds the canal's middle at each level in patient millimetres, from sagittal
    T2; where it is empty, the midline is taken from the foramina of both sides and the
    T1 slices name the levels themselves. Left is where patient x is larger than the
    midline's, whatever the order of the slices. Foramina not found are left out.
    """
    scores = view.scores[:, channels(Structure.FORAMEN)]
    anchors = _anchors(view, canal, options)
    offsets_mm = _offsets_mm(view, canal, scores, options)
    if offsets_mm is None:
        return {}
    points: dict[tuple[Level, Side], LevelPoint] = {}
    for side, sign in ((Side.LEFT, 1.0), (Side.RIGHT, -1.0)):
        weights, likely = _slice_weights(offsets_mm * sign, options)
        combined = (scores * weights.T[:, :, None, None]).max(axis=0) * anchors
        for level, peak in decode_levels(combined, options).items():
            n = list(Level).index(level)
            strength = _strength(scores[:, n], peak)
            index = int(np.argmax(strength * likely[n]))
            if strength[index] * likely[n, index] <= 0:
                continue
            column, row = view.crop.to_image_px(*_on_slice(scores[index, n], peak))
            confidence = run.platt(SAGITTAL, float(strength[index]))
            points[level, side] = LevelPoint(
                level, side, view.volume, index, column, row, confidence
            )
    return points if canal else _agreeing(points, options.side_height_mm)


def _slice_weights(
    lateral_mm: NDArray[np.float64], options: HeatmapOptions
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How much each slice counts for each level, and how likely it shows the foramen.

    `lateral_mm` is the distance towards the side, shape (5, slices), as are both results. A slice
    far from where foramina lie may still show one: it counts, but less.
    """
    nearest_mm, farthest_mm = options.foramen_lateral_range_mm
    in_range = (lateral_mm > nearest_mm) & (lateral_mm < farthest_mm)
    usual_mm = np.array(options.foramen_lateral_mm)[:, None]
    likely = np.exp(-(((lateral_mm - usual_mm) / options.foramen_lateral_sigma_mm) ** 2) / 2)
    likely = likely * in_range
    floor = options.unlikely_slice_weight
    return (floor + (1 - floor) * likely) * in_range, likely


def _agreeing(
    points: dict[tuple[Level, Side], LevelPoint], side_height_mm: float
) -> dict[tuple[Level, Side], LevelPoint]:
    """Without sagittal T2 to name the levels, only those that both sides name alike."""
    heights = {key: point.position_mm[2] for key, point in points.items()}
    return {
        (level, side): point
        for (level, side), point in points.items()
        if all((level, other) in heights for other in Side)
        and abs(heights[level, Side.LEFT] - heights[level, Side.RIGHT]) <= side_height_mm
    }


def _anchors(
    view: SagittalView, canal: Mapping[Level, Vector], options: HeatmapOptions
) -> NDArray[np.float32]:
    """How well each heatmap cell fits the levels of T2, shape (5, height, width).

    Ones where T2 has no level: there the T1 heatmaps name it.
    """
    shape: tuple[int, int] = view.scores.shape[2:]
    plane = view.volume.planes[0]
    maps = []
    for level in Level:
        if level not in canal:
            maps.append(np.ones(shape, dtype=np.float32))
            continue
        expected = canal[level] + np.array([0.0, *options.foramen_offset_mm])
        place = view.crop.to_crop_px(*plane.to_px(expected))
        maps.append(prior(shape, place, options.foramen_offset_sigma_mm / view.mm_per_px))
    return np.stack(maps)


def _offsets_mm(
    view: SagittalView,
    canal: Mapping[Level, Vector],
    scores: NDArray[np.float32],
    options: HeatmapOptions,
) -> NDArray[np.float64] | None:
    """How far each slice lies to the patient's left of the midline, shape (5, slices).

    None where the midline is unknown.
    """
    height, width = view.crop.pixels.shape
    rows = []
    for level in Level:
        column, row = (width - 1) / 2, (height - 1) / 2
        if level in canal:
            column, row = view.crop.to_crop_px(*view.volume.planes[0].to_px(canal[level]))
        rows.append([view.x_mm(index, column, row) for index in range(len(scores))])
    x_mm = np.array(rows)
    if canal:
        levels = list(canal)
        known = np.array([list(Level).index(level) for level in levels])
        midline = np.interp(np.arange(len(Level)), known, [canal[level][0] for level in levels])
        from_midline: NDArray[np.float64] = x_mm - midline[:, None]
        return from_midline
    middle = _middle_of_foramina(
        x_mm.mean(axis=0), scores.max(axis=(2, 3)).sum(axis=1), options.between_sides_mm
    )
    if middle is None:
        return None
    offsets: NDArray[np.float64] = x_mm - middle
    return offsets


def _middle_of_foramina(
    x_mm: NDArray[np.float64], weight: NDArray[np.float32], between_sides_mm: tuple[float, float]
) -> float | None:
    """The x midway between the foramina of both sides, from the score of each slice.

    None unless the scores lie in two clusters as far apart as the two sides are: a stack
    that shows one side alone has no midline, and a guess would swap sides.
    """
    strong = np.where(weight >= weight.max() / 3, weight, 0) + 1e-9
    middle = float(np.average(x_mm, weights=strong))
    left = x_mm > middle
    if not left.any() or left.all():
        return None
    centres = [float(np.average(x_mm[part], weights=strong[part])) for part in (left, ~left)]
    nearest, farthest = between_sides_mm
    return sum(centres) / 2 if nearest <= centres[0] - centres[1] <= farthest else None


def _strength(scores: NDArray[np.float32], peak: Peak) -> NDArray[np.float32]:
    """The score within one cell of a place, on every slice, shape (slices,)."""
    column, row = (round(v) for v in to_cell(peak.column, peak.row))
    around = scores[:, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
    strength: NDArray[np.float32] = around.max(axis=(1, 2))
    return strength


def _on_slice(scores: NDArray[np.float32], peak: Peak) -> tuple[float, float]:
    """The peak's place as the chosen slice shows it, within two cells of the common one."""
    column, row = (round(v) for v in to_cell(peak.column, peak.row))
    top, left = max(0, row - 2), max(0, column - 2)
    part = scores[top : row + 3, left : column + 3].astype(np.float64) ** 2
    if part.sum() <= 0:
        return peak.column, peak.row
    ys, xs = np.mgrid[top : top + part.shape[0], left : left + part.shape[1]]
    cell_column = float((xs * part).sum() / part.sum())
    cell_row = float((ys * part).sum() / part.sum())
    return to_crop(cell_column, cell_row)
