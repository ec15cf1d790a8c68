"""The five disc levels on sagittal T2: the middle of the canal at each disc."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import Level
from worker.domain.points import LevelPoint
from worker.localise.heatmaps.options import HeatmapOptions
from worker.localise.heatmaps.peaks import Peak, decode_levels, to_cell
from worker.localise.heatmaps.views import SagittalView
from worker.localise.heatmaps.windows import SAGITTAL, Structure, channels
from worker.models.seam import Runner


def find_levels(
    view: SagittalView, run: Runner, options: HeatmapOptions
) -> dict[Level, LevelPoint]:
    """The canal's middle at each disc level that could be found on a sagittal T2 volume.

    The place in the slice comes from all slices together. The slice is the one where the canal
    has its highest scores, steadied by a line through the levels, since a spine bends
    sideways slowly. Levels that are not found are left out.
    """
    scores = view.scores[:, channels(Structure.CANAL)]
    levels = decode_levels(scores.max(axis=0), options)
    if not levels:
        return {}
    x_mm = {}
    for n, level in enumerate(Level):
        if level in levels:
            weights = _along_slices(scores[:, n], levels[level])
            x_mm[level] = float(np.average(_x_of_slices(view, levels[level]), weights=weights))
    steady_mm = _steadied(x_mm, levels, options.own_slice_weight)
    points = {}
    for level, peak in levels.items():
        index = int(np.argmin(np.abs(_x_of_slices(view, peak) - steady_mm[level])))
        column, row = view.crop.to_image_px(peak.column, peak.row)
        confidence = run.platt(SAGITTAL, peak.score)
        points[level] = LevelPoint(level, None, view.volume, index, column, row, confidence)
    return points


def onto_midline(point: LevelPoint, canal_x_mm: float) -> LevelPoint:
    """The level's point on the sagittal slice that the axial series shows to be the midline.

    `canal_x_mm` is the patient x of the canal's middle on the level's axial slice, where
    left and right are seen. Sagittal slices lie 4 mm apart and can only be guessed between.
    """
    position_mm = point.position_mm
    position_mm[0] = canal_x_mm
    index, _ = point.volume.nearest_slice(position_mm)
    column, row = point.volume.planes[index].to_px(position_mm)
    return replace(point, index=index, column=column, row=row)


def _along_slices(scores: NDArray[np.float32], peak: Peak) -> NDArray[np.float64]:
    """The score around a place on every slice, the lower half set to 0, shape (slices,)."""
    column, row = (round(v) for v in to_cell(peak.column, peak.row))
    around = scores[:, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
    strength: NDArray[np.float64] = around.max(axis=(1, 2)).astype(np.float64)
    strength[strength < strength.max() / 2] = 0
    return strength


def _x_of_slices(view: SagittalView, peak: Peak) -> NDArray[np.float64]:
    """The patient x of one place of the view on every slice, shape (slices,)."""
    slices = range(len(view.volume.slices))
    return np.array([view.x_mm(index, peak.column, peak.row) for index in slices])


def _steadied(
    own_mm: dict[Level, float], levels: dict[Level, Peak], own_weight: float
) -> dict[Level, float]:
    """Each level's x between its own and that of the line through all levels."""
    if len(own_mm) < 3:
        return own_mm
    rows = np.array([levels[level].row for level in own_mm])
    scores = np.array([levels[level].score for level in own_mm])
    line = np.polyfit(rows, np.array(list(own_mm.values())), deg=1, w=scores)
    return {
        level: own_weight * x_mm + (1 - own_weight) * float(np.polyval(line, levels[level].row))
        for level, x_mm in own_mm.items()
    }
