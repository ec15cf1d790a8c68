"""The axial slice of each level, and the canal and both lateral recesses on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from dicom_sr.findings import Level, Side
from worker.domain.crop import Crop, cut
from worker.domain.geometry import Vector
from worker.domain.points import LevelPoint
from worker.domain.volume import Volume
from worker.localise.peaks import FAINTEST, Peak, peaks
from worker.localise.views import Networks
from worker.localise.windows import (
    AXIAL_POINTS,
    AXIAL_SHAPE,
    AXIAL_WIDTH_MM,
    AxialPoint,
    canal_window,
)

AXIAL: Final = "axial_points"
"""The network that draws the axial heatmaps."""

FARTHEST_MM: Final = 5.0
"""A plane farther than this from where a level is judged does not show that level."""

FARTHEST_IN_PLANE_MM: Final = 12.0
"""A canal found farther than this from where sagittal T2 puts it is another structure."""

SPAN_MM: Final = (10.0, 32.0)
"""The distance between lateral recesses that a spine can have; most lie at 15 to 23 mm."""

MOSTLY_ACROSS: Final = 0.7
"""The left recess lies to the patient's left of the right one, tilted by at most 45 degrees."""

SAME_MM: Final = 2.0
"""A worse-ranked series must pass this much closer to be preferred."""

PASSES: Final = 2
"""The second look starts from where the first found the canal."""

_RECESSES: Final = [
    AXIAL_POINTS.index(name) for name in (AxialPoint.LEFT_RECESS, AxialPoint.RIGHT_RECESS)
]
_MIRRORED: Final = [
    AXIAL_POINTS.index(name)
    for name in (AxialPoint.CANAL, AxialPoint.RIGHT_RECESS, AxialPoint.LEFT_RECESS)
]


RECESS_BELOW_MM: Final = 2.0
"""How far below the disc's middle its lateral recesses are judged, along the canal.

The subarticular zone reaches from the disc down to the pedicle of the vertebra below.
"""


@dataclass(frozen=True, eq=False)
class AxialLevel:
    """One level on its axial slice: where to grade, and where to point.

    `canal` is midway between the lateral recesses; `span_mm` is the distance between them.
    """

    canal: LevelPoint
    recesses: Mapping[Side, LevelPoint]
    span_mm: float


def recess_heights(canal: Mapping[Level, Vector]) -> dict[Level, Vector]:
    """Where along the canal each level is judged on axial slices, in patient millimetres.

    `canal` holds the canal's middle at each disc; the canal runs towards the next level.
    """
    levels = [level for level in Level if level in canal]
    heights = {}
    for n, level in enumerate(levels):
        above, below = canal[levels[max(0, n - 1)]], canal[levels[min(n + 1, len(levels) - 1)]]
        length = float(np.linalg.norm(below - above))
        down = (below - above) / length if length > 0 else np.zeros(3)
        heights[level] = canal[level] + RECESS_BELOW_MM * down
    return heights


def choose_slice(volumes: Sequence[Volume], position_mm: Vector) -> tuple[Volume, int] | None:
    """The slice whose plane passes closest to a position that lies on its image.

    Over all volumes, so over all orientation groups of all axial series, the series in
    the order of their rank; None when no plane passes within `FARTHEST_MM`.
    """
    ranks: dict[str, int] = {}
    best: tuple[float, Volume, int] | None = None
    for volume in volumes:
        handicap = SAME_MM * ranks.setdefault(volume.series_instance_uid, len(ranks))
        for index, plane in enumerate(volume.planes):
            distance = abs(plane.distance_mm(position_mm))
            if distance > FARTHEST_MM or not plane.contains(*plane.to_px(position_mm)):
                continue
            if best is None or distance + handicap < best[0]:
                best = (distance + handicap, volume, index)
    return None if best is None else best[1:]


def find_canals(
    chosen: Mapping[Level, tuple[Volume, int]],
    positions_mm: Mapping[Level, Vector],
    networks: Networks,
) -> dict[Level, AxialLevel]:
    """Find the canal and both recesses on the chosen slice of each level.

    The search starts at the level's position projected onto the slice. Each window is
    also looked at mirrored, so that a mirrored patient gives mirrored points. Levels
    without a canal are left out.
    """
    guesses = {
        level: volume.planes[index].to_px(positions_mm[level])
        for level, (volume, index) in chosen.items()
    }
    found: dict[Level, AxialLevel] = {}
    for _ in range(PASSES):
        if not guesses:
            break
        found = _look(chosen, guesses, networks)
        guesses = {level: (f.canal.column, f.canal.row) for level, f in found.items()}
    return {
        level: here
        for level, here in found.items()
        if _in_plane_mm(here.canal, positions_mm[level]) <= FARTHEST_IN_PLANE_MM
    }


def _in_plane_mm(point: LevelPoint, position_mm: Vector) -> float:
    """How far a point lies from a position projected onto its slice."""
    plane = point.volume.planes[point.index]
    projected = plane.to_mm(*plane.to_px(position_mm))
    return float(np.linalg.norm(point.position_mm - projected))


def _look(
    chosen: Mapping[Level, tuple[Volume, int]],
    guesses: Mapping[Level, tuple[float, float]],
    networks: Networks,
) -> dict[Level, AxialLevel]:
    crops = {}
    for level, (column, row) in guesses.items():
        volume, index = chosen[level]
        plane = volume.planes[index]
        window = canal_window(column, row, AXIAL_WIDTH_MM, plane.grid)
        crops[level] = cut(volume.pixels[index], window, AXIAL_SHAPE)
    batch = torch.from_numpy(np.stack([crop.pixels for crop in crops.values()]))[:, None]
    heat = torch.sigmoid(networks.run(AXIAL, torch.cat([batch, batch.flip(-1)])))
    straight, mirrored = heat.chunk(2)
    heat = (straight + mirrored.flip(-1)[:, _MIRRORED]) / 2
    places, scores = peaks(heat.flatten(0, 1), 1)
    shape = (len(crops), len(AXIAL_POINTS))
    found = {}
    for (level, crop), place, score in zip(
        crops.items(), places.view(*shape, 2).numpy(), scores.view(shape).numpy(), strict=True
    ):
        volume, index = chosen[level]
        if min(score[_RECESSES]) < FAINTEST:
            continue
        sure = [networks.belief(AXIAL, float(s)) for s in score]
        level_found = _axial_level(level, volume, index, crop, place, sure)
        if level_found is not None:
            found[level] = level_found
    return found


def _axial_level(
    level: Level,
    volume: Volume,
    index: int,
    crop: Crop,
    places: NDArray[np.float32],
    scores: Sequence[float],
) -> AxialLevel | None:
    named = {
        name: Peak(float(p[0]), float(p[1]), float(s))
        for name, p, s in zip(AXIAL_POINTS, places, scores, strict=True)
    }
    left, right = named[AxialPoint.LEFT_RECESS], named[AxialPoint.RIGHT_RECESS]
    points = {
        side: LevelPoint(level, side, volume, index, *crop.to_image_px(p.column, p.row), p.heat)
        for side, p in ((Side.LEFT, left), (Side.RIGHT, right))
    }
    between = points[Side.LEFT].position_mm - points[Side.RIGHT].position_mm
    span = float(np.linalg.norm(between))
    if not SPAN_MM[0] <= span <= SPAN_MM[1] or between[0] < MOSTLY_ACROSS * span:
        return None
    centre = crop.to_image_px((left.column + right.column) / 2, (left.row + right.row) / 2)
    canal = LevelPoint(level, None, volume, index, *centre, min(left.heat, right.heat))
    return AxialLevel(canal, points, span)
