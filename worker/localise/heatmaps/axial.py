"""The axial slice of each level, and the canal and both lateral recesses on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from dicom_sr.findings import Level, Side
from worker.domain.crop import Crop, cut
from worker.domain.geometry import Vector
from worker.domain.located import AxialLevel
from worker.domain.points import LevelPoint
from worker.domain.volume import Volume
from worker.localise.heatmaps.options import HeatmapOptions
from worker.localise.heatmaps.peaks import Peak, peaks
from worker.localise.heatmaps.windows import (
    AXIAL,
    AXIAL_POINTS,
    AXIAL_SHAPE,
    AxialPoint,
    canal_window,
)
from worker.models.seam import Runner

_RECESSES: Final = [
    AXIAL_POINTS.index(name) for name in (AxialPoint.LEFT_RECESS, AxialPoint.RIGHT_RECESS)
]
_MIRRORED: Final = [
    AXIAL_POINTS.index(name)
    for name in (AxialPoint.CANAL, AxialPoint.RIGHT_RECESS, AxialPoint.LEFT_RECESS)
]


def recess_heights(canal: Mapping[Level, Vector], options: HeatmapOptions) -> dict[Level, Vector]:
    """Where along the canal the axial slice of each level is chosen, in patient millimetres.

    `canal` holds the canal's middle at each disc; the canal runs towards the next level. The
    subarticular zone reaches from the disc down to the pedicle of the vertebra below.
    """
    levels = [level for level in Level if level in canal]
    heights = {}
    for n, level in enumerate(levels):
        above, below = canal[levels[max(0, n - 1)]], canal[levels[min(n + 1, len(levels) - 1)]]
        length = float(np.linalg.norm(below - above))
        down = (below - above) / length if length > 0 else np.zeros(3)
        heights[level] = canal[level] + options.recess_below_mm * down
    return heights


def choose_slice(
    volumes: Sequence[Volume], position_mm: Vector, options: HeatmapOptions
) -> tuple[Volume, int] | None:
    """The slice whose plane passes closest to a position that lies on its image.

    Over all volumes, so over all orientation groups of all axial series, the series in
    the order of their rank; None when no plane passes near enough.
    """
    ranks: dict[str, int] = {}
    best: tuple[float, Volume, int] | None = None
    for volume in volumes:
        rank = ranks.setdefault(volume.series_instance_uid, len(ranks))
        penalty = options.rank_penalty_mm * rank
        for index, plane in enumerate(volume.planes):
            distance = abs(plane.distance_mm(position_mm))
            if distance > options.max_plane_distance_mm:
                continue
            if not plane.contains(*plane.to_px(position_mm)):
                continue
            if best is None or distance + penalty < best[0]:
                best = (distance + penalty, volume, index)
    return None if best is None else best[1:]


def find_canals(
    chosen: Mapping[Level, tuple[Volume, int]],
    positions_mm: Mapping[Level, Vector],
    run: Runner,
    options: HeatmapOptions,
) -> dict[Level, AxialLevel]:
    """Find the canal and both recesses on the chosen slice of each level.

    The search starts at the level's position projected onto the slice. The network sees each
    window also mirrored, so that a mirrored patient gives mirrored points. Levels
    without a canal are left out.
    """
    centres = {
        level: volume.planes[index].to_px(positions_mm[level])
        for level, (volume, index) in chosen.items()
    }
    located: dict[Level, AxialLevel] = {}
    for _ in range(options.passes):
        if not centres:
            break
        located = _search(chosen, centres, run, options)
        centres = {level: (one.canal.column, one.canal.row) for level, one in located.items()}
    return {
        level: one
        for level, one in located.items()
        if _in_plane_mm(one.canal, positions_mm[level]) <= options.max_in_plane_mm
    }


def _in_plane_mm(point: LevelPoint, position_mm: Vector) -> float:
    """How far a point lies from a position projected onto its slice."""
    plane = point.volume.planes[point.index]
    projected = plane.to_mm(*plane.to_px(position_mm))
    return float(np.linalg.norm(point.position_mm - projected))


def _search(
    chosen: Mapping[Level, tuple[Volume, int]],
    centres: Mapping[Level, tuple[float, float]],
    run: Runner,
    options: HeatmapOptions,
) -> dict[Level, AxialLevel]:
    crops = {}
    for level, (column, row) in centres.items():
        volume, index = chosen[level]
        window = canal_window(column, row, options.axial_window_mm, volume.planes[index].grid)
        crops[level] = cut(volume.pixels[index], window, AXIAL_SHAPE)
    batch = torch.from_numpy(np.stack([crop.pixels for crop in crops.values()]))[:, None]
    heatmaps = torch.sigmoid(run.run(AXIAL, torch.cat([batch, batch.flip(-1)])))
    straight, mirrored = heatmaps.chunk(2)
    heatmaps = (straight + mirrored.flip(-1)[:, _MIRRORED]) / 2
    places, scores = peaks(heatmaps.flatten(0, 1), 1)
    shape = (len(crops), len(AXIAL_POINTS))
    located = {}
    for (level, crop), place, score in zip(
        crops.items(), places.view(*shape, 2).numpy(), scores.view(shape).numpy(), strict=True
    ):
        if min(score[_RECESSES]) < options.min_score:
            continue
        confidences = [run.platt(AXIAL, float(one)) for one in score]
        one = _axial_level(level, *chosen[level], crop, place, confidences, options)
        if one is not None:
            located[level] = one
    return located


def _axial_level(
    level: Level,
    volume: Volume,
    index: int,
    crop: Crop,
    places: NDArray[np.float32],
    confidences: Sequence[float],
    options: HeatmapOptions,
) -> AxialLevel | None:
    named = {
        name: Peak(float(place[0]), float(place[1]), confidence)
        for name, place, confidence in zip(AXIAL_POINTS, places, confidences, strict=True)
    }
    left, right = named[AxialPoint.LEFT_RECESS], named[AxialPoint.RIGHT_RECESS]
    points = {
        side: LevelPoint(level, side, volume, index, *crop.to_image_px(p.column, p.row), p.score)
        for side, p in ((Side.LEFT, left), (Side.RIGHT, right))
    }
    between = points[Side.LEFT].position_mm - points[Side.RIGHT].position_mm
    span_mm = float(np.linalg.norm(between))
    lowest_mm, highest_mm = options.span_mm
    # Patient left is +x: the left recess lies to the left of the right one.
    if not lowest_mm <= span_mm <= highest_mm or between[0] < options.min_across * span_mm:
        return None
    centre = crop.to_image_px((left.column + right.column) / 2, (left.row + right.row) / 2)
    canal = LevelPoint(level, None, volume, index, *centre, min(left.score, right.score))
    return AxialLevel(canal, points, span_mm)
