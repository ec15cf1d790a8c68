"""The ten neural foramina on sagittal T1, each on its side and its slice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import Level, Side
from worker.domain.geometry import Vector
from worker.domain.points import LevelPoint
from worker.localise.peaks import Peak, decode_levels, prior, to_cell, to_crop
from worker.localise.views import SAGITTAL, Networks, SagittalView
from worker.localise.windows import OFFSET_MM, Structure, channels

OFFSET_SIGMA_MM: Final = 9.0
LATERAL_MM: Final = dict(zip(Level, (15.0, 16.0, 17.0, 18.0, 19.0), strict=True))
LATERAL_SIGMA_MM: Final = 4.0
BETWEEN_SIDES_MM: Final = (20.0, 55.0)
"""Left and right foramina lie this far apart; anything else shows no midline."""

SIDES_LEVEL_MM: Final = 15.0
"""Both foramina of a level lie within this height of each other."""

NEAREST_MM: Final = 6.0
FARTHEST_MM: Final = 30.0


def find_foramina(
    view: SagittalView, networks: Networks, canal: Mapping[Level, Vector]
) -> dict[tuple[Level, Side], LevelPoint]:
    """The foramina that could be found on a sagittal T1 volume.

    `canal` holds the canal's middle at each level in patient millimetres, from sagittal
    T2; where it is empty, the midline is taken from the foramina of both sides and the
    T1 slices name the levels themselves. Left is where patient x is larger than the
    midline's, whatever the order of the slices. Foramina not found are left out.
    """
    heat = view.heat[:, channels(Structure.FORAMEN)]
    anchors = _anchors(view, canal)
    offsets = _offsets_mm(view, canal, heat)
    if offsets is None:
        return {}
    points: dict[tuple[Level, Side], LevelPoint] = {}
    for side, sign in ((Side.LEFT, 1.0), (Side.RIGHT, -1.0)):
        lateral = offsets * sign
        here = (lateral > NEAREST_MM) & (lateral < FARTHEST_MM)
        likely = np.stack(
            [
                np.exp(-(((lateral[n] - LATERAL_MM[level]) / LATERAL_SIGMA_MM) ** 2) / 2) * here[n]
                for n, level in enumerate(Level)
            ]
        )
        # A slice far from where foramina lie may still show one: it counts, but less.
        weighted = heat * (0.5 + 0.5 * likely.T[:, :, None, None]) * here.T[:, :, None, None]
        seen = weighted.max(axis=0) * anchors
        for level, peak in decode_levels(seen).items():
            n = list(Level).index(level)
            strength = _strength(heat[:, n], peak) * likely[n]
            index = int(np.argmax(strength))
            if strength[index] <= 0:
                continue
            column, row = view.crop.to_image_px(*_on_slice(heat[index, n], peak))
            sure = networks.belief(SAGITTAL, float(_strength(heat[:, n], peak)[index]))
            points[level, side] = LevelPoint(level, side, view.volume, index, column, row, sure)
    return points if canal else _agreeing(points)


def _agreeing(
    points: dict[tuple[Level, Side], LevelPoint],
) -> dict[tuple[Level, Side], LevelPoint]:
    """Without sagittal T2 to name the levels, only those that both sides name alike."""
    heights = {key: point.position_mm[2] for key, point in points.items()}
    return {
        (level, side): point
        for (level, side), point in points.items()
        if all((level, other) in heights for other in Side)
        and abs(heights[level, Side.LEFT] - heights[level, Side.RIGHT]) <= SIDES_LEVEL_MM
    }


def _anchors(view: SagittalView, canal: Mapping[Level, Vector]) -> NDArray[np.float32]:
    """How well each heatmap cell fits the levels of T2, shape (5, height, width).

    Ones where T2 says nothing: then the T1 heatmaps name the levels.
    """
    shape: tuple[int, int] = view.heat.shape[2:]
    plane = view.volume.planes[0]
    maps = []
    for level in Level:
        if level not in canal:
            maps.append(np.ones(shape, dtype=np.float32))
            continue
        expected = canal[level] + np.array([0.0, *OFFSET_MM])
        place = view.crop.to_crop_px(*plane.to_px(expected))
        maps.append(prior(shape, place, OFFSET_SIGMA_MM / view.mm_per_px))
    return np.stack(maps)


def _offsets_mm(
    view: SagittalView, canal: Mapping[Level, Vector], heat: NDArray[np.float32]
) -> NDArray[np.float64] | None:
    """How far each slice lies to the patient's left of the midline, shape (5, slices).

    None where nothing shows where the midline is.
    """
    height, width = view.crop.pixels.shape
    rows = []
    for level in Level:
        column, row = (width - 1) / 2, (height - 1) / 2
        if level in canal:
            column, row = view.crop.to_crop_px(*view.volume.planes[0].to_px(canal[level]))
        rows.append([view.x_mm(index, column, row) for index in range(len(heat))])
    x_mm = np.array(rows)
    if canal:
        levels = list(canal)
        known = np.array([list(Level).index(level) for level in levels])
        midline = np.interp(np.arange(len(Level)), known, [canal[level][0] for level in levels])
        from_midline: NDArray[np.float64] = x_mm - midline[:, None]
        return from_midline
    middle = _middle_of_foramina(x_mm.mean(axis=0), heat.max(axis=(2, 3)).sum(axis=1))
    if middle is None:
        return None
    offsets: NDArray[np.float64] = x_mm - middle
    return offsets


def _middle_of_foramina(x_mm: NDArray[np.float64], weight: NDArray[np.float32]) -> float | None:
    """The x midway between the foramina of both sides, from the heat of each slice.

    None unless the heat lies in two clusters as far apart as the two sides are: a stack
    that shows one side alone has no midline, and a guess would swap sides.
    """
    strong = np.where(weight >= weight.max() / 3, weight, 0) + 1e-9
    middle = float(np.average(x_mm, weights=strong))
    left = x_mm > middle
    if not left.any() or left.all():
        return None
    centres = [float(np.average(x_mm[part], weights=strong[part])) for part in (left, ~left)]
    nearest, farthest = BETWEEN_SIDES_MM
    return sum(centres) / 2 if nearest <= centres[0] - centres[1] <= farthest else None


def _strength(heat: NDArray[np.float32], peak: Peak) -> NDArray[np.float32]:
    """The heat within one cell of a place, on every slice, shape (slices,)."""
    column, row = (round(v) for v in to_cell(peak.column, peak.row))
    around = heat[:, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
    strength: NDArray[np.float32] = around.max(axis=(1, 2))
    return strength


def _on_slice(heat: NDArray[np.float32], peak: Peak) -> tuple[float, float]:
    """The peak's place as the chosen slice shows it, within two cells of the common one."""
    column, row = (round(v) for v in to_cell(peak.column, peak.row))
    top, left = max(0, row - 2), max(0, column - 2)
    part = heat[top : row + 3, left : column + 3].astype(np.float64) ** 2
    if part.sum() <= 0:
        return peak.column, peak.row
    ys, xs = np.mgrid[top : top + part.shape[0], left : left + part.shape[1]]
    cell_column = float((xs * part).sum() / part.sum())
    cell_row = float((ys * part).sum() / part.sum())
    return to_crop(cell_column, cell_row)
