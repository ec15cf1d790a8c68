"""The crops of an annotated row: the same windows as the worker cuts.

Training, evaluation and the worker all cut with `worker.domain.crop.cut`; only where the
window's place and scale come from differs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from statistics import mean
from typing import Final

import numpy as np

from dicom_sr.findings import Side
from worker.datasets.axial import AxialRow
from worker.datasets.foraminal import ForaminalRow, pool_by_side
from worker.datasets.pictures import Picture, read_picture
from worker.domain.crop import Crop, cut
from worker.grade.crop_windows import AXIAL_SHAPE, FORAMINAL_SHAPE, CropOptions, widened
from worker.grade.crops import Neighbours, neighbours

USUAL_SPACING: Final = 0.11
"""The level spacing of a series with one annotated level, in sides of the image."""


class ForaminalCrops:
    """Cuts crops around the foramina of a table, scaled by the levels of their series.

    Neighbouring slices are known where a table names them for other foramina. Elsewhere the
    slice is repeated, as the worker does at the end of a series.
    """

    def __init__(self, rows: Sequence[ForaminalRow], options: CropOptions) -> None:
        self._options = options
        self._spacings = {
            key: options.level_spacing(
                {level: np.array(row.physical) for level, row in side.items()}
            )
            for key, side in pool_by_side(rows).items()
        }
        self._slices = {
            (row.study_id, row.series_id, row.instance_number): (str(row.path), row.original)
            for row in rows
        }
        numbers: dict[tuple[str, str], dict[Side, list[int]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for row in rows:
            numbers[row.study_id, row.series_id][row.side].append(row.instance_number)
        self._left_ascends = {
            series: mean(sides[Side.LEFT]) > mean(sides[Side.RIGHT])
            for series, sides in numbers.items()
            if len(sides) == len(Side)
        }

    def cut(self, row: ForaminalRow, context: float = 1.0) -> Neighbours:
        """The crops of one foramen, in the picture's intensities.

        `context` above 1 widens them and keeps the pixel size. Raises OSError when the
        picture cannot be read.
        """
        spacing = self._spacings.get((row.study_id, row.series_id, row.side))
        shape = widened(FORAMINAL_SHAPE, context)

        def cut_on(file: tuple[str, tuple[float, float]]) -> Crop:
            picture = _picture(*file)
            rows, columns = picture.pixels.shape
            window = self._options.foraminal_window(
                row.x_fraction * columns - 0.5,
                row.y_fraction * rows - 0.5,
                spacing or USUAL_SPACING * max(row.extent),
                picture.grid,
                context=context,
            )
            return cut(picture.pixels, window, shape)

        def cut_beside(step: int) -> Crop | None:
            if not step:
                return cut_on((str(row.path), row.original))
            file = self._slices.get((row.study_id, row.series_id, row.instance_number + step))
            try:
                return None if file is None else cut_on(file)
            except OSError:
                return None  # a broken neighbour is reported with its own row

        return neighbours(cut_beside, self._outward(row))

    def _outward(self, row: ForaminalRow) -> int:
        """The step in instance numbers towards the row's side; 0 where it is unknown."""
        ascends = self._left_ascends.get((row.study_id, row.series_id))
        if ascends is None:
            return 0
        return 1 if ascends is (row.side is Side.LEFT) else -1


def cut_axial(row: AxialRow, options: CropOptions, context: float = 1.0) -> Crop:
    """The crop around the canal of one row, as `ForaminalCrops.cut`."""
    picture = read_picture(row.path)
    window = options.axial_window(*canal_middle(row), row.span, picture.grid, context=context)
    shape = widened(AXIAL_SHAPE, context)
    return cut(picture.pixels, window, shape)


def canal_middle(row: AxialRow) -> tuple[float, float]:
    """(column, row) of the middle of the box, in pixels of the row's picture."""
    x_min, y_min, x_max, y_max = row.box
    corner = row.corner_px
    return (x_min + x_max) / 2 - corner[0] - 0.5, (y_min + y_max) / 2 - corner[1] - 0.5


@lru_cache(maxsize=64)
def _picture(path: str, original: tuple[float, float]) -> Picture:
    return read_picture(Path(path), original)
