"""The five disc levels on sagittal T2: the middle of the canal at each disc."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import Level
from worker.domain.points import LevelPoint
from worker.localise.peaks import Peak, decode_levels, to_cell
from worker.localise.views import SAGITTAL, Networks, SagittalView
from worker.localise.windows import Structure, channels

OWN_WEIGHT: Final = 0.5
"""How much a level's own slices count against the line through all levels."""


def find_levels(view: SagittalView, networks: Networks) -> dict[Level, LevelPoint]:
    """The canal's middle at each disc level that could be found on a sagittal T2 volume.

    The place in the slice comes from all slices together, the slice from where the canal
    is brightest for the detector, steadied by a line through the levels: a spine bends
    sideways slowly. Levels that are not found are left out.
    """
    heat = view.heat[:, channels(Structure.CANAL)]
    found = decode_levels(heat.max(axis=0))
    if not found:
        return {}
    seen = {level: _along_slices(heat[:, n], found[level]) for n, level in _numbered(found)}
    own = {
        level: float(np.average(_x_of_slices(view, peak), weights=seen[level]))
        for level, peak in found.items()
    }
    steady = _steadied(own, found)
    points = {}
    for level, peak in found.items():
        x_of_slices = _x_of_slices(view, peak)
        index = int(np.argmin(np.abs(x_of_slices - steady[level])))
        column, row = view.crop.to_image_px(peak.column, peak.row)
        sure = networks.belief(SAGITTAL, peak.heat)
        points[level] = LevelPoint(level, None, view.volume, index, column, row, sure)
    return points


def onto_midline(point: LevelPoint, canal_x_mm: float) -> LevelPoint:
    """The level's point on the sagittal slice that the axial series shows to be the midline.

    `canal_x_mm` is the patient x of the canal's middle on the level's axial slice, where
    left and right are seen and sagittal slices, 4 mm apart, can only guess between them.
    """
    where = point.position_mm
    where[0] = canal_x_mm
    index, _ = point.volume.nearest_slice(where)
    column, row = point.volume.planes[index].to_px(where)
    return replace(point, index=index, column=column, row=row)


def _numbered(found: dict[Level, Peak]) -> list[tuple[int, Level]]:
    return [(n, level) for n, level in enumerate(Level) if level in found]


def _along_slices(heat: NDArray[np.float32], peak: Peak) -> NDArray[np.float64]:
    """The heat around a place on every slice; the faint half is left out, shape (slices,)."""
    column, row = (round(v) for v in to_cell(peak.column, peak.row))
    around = heat[:, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
    strength: NDArray[np.float64] = around.max(axis=(1, 2)).astype(np.float64)
    strength[strength < strength.max() / 2] = 0
    return strength


def _x_of_slices(view: SagittalView, peak: Peak) -> NDArray[np.float64]:
    """The patient x of one place of the view on every slice, shape (slices,)."""
    slices = range(len(view.volume.slices))
    return np.array([view.x_mm(index, peak.column, peak.row) for index in slices])


def _steadied(own: dict[Level, float], found: dict[Level, Peak]) -> dict[Level, float]:
    """Each level's x between its own and that of the line through all levels."""
    if len(own) < 3:
        return own
    rows = np.array([found[level].row for level in own])
    heats = np.array([found[level].heat for level in own])
    line = np.polyfit(rows, np.array(list(own.values())), deg=1, w=heats)
    return {
        level: OWN_WEIGHT * x + (1 - OWN_WEIGHT) * float(np.polyval(line, found[level].row))
        for level, x in own.items()
    }
