"""Measures the signal of canal and discs relative to marrow at the same height."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.recognise.network import PIXEL_MM

_THRESHOLD: Final = 0.5
"""Pixels of at least this probability belong to a structure."""

_NARROWEST_PX: Final = 2
"""A third of the width of the canal; narrower rows are mostly edge."""

_NEAR_ROWS: Final = 2
"""Marrow within 5 mm above and below a row counts as at its height."""

_FEWEST_MARROW_PX: Final = 12
"""About one row of a vertebral body; fewer pixels give no reliable median."""

_FEWEST_DISC_PX: Final = 20
"""125 mm2, less than half of one disc."""

_LARGEST_RATIO: Final = 50.0
"""Far above every threshold, and finite where marrow has no signal."""


@dataclass(frozen=True)
class Contrast:
    """The signal ratios of one slice, above its darkest pixels.

    `canal_to_marrow` is the median over the rows that show both, `brighter` the share of
    these rows in which the canal is brighter, `canal_mm` the height of these rows.
    `disc_to_marrow` is None where no discs are found. `vertebra_mm2` is the area of the
    vertebral bodies.
    """

    canal_to_marrow: float
    brighter: float
    canal_mm: float
    disc_to_marrow: float | None
    vertebra_mm2: float


def measure(crop: NDArray[np.float32], outlines: NDArray[np.float32]) -> Contrast | None:
    """Compare canal, discs and marrow of a crop (height, width); None where there is no canal.

    `outlines` has shape (structures, height, width), probabilities, in the order of
    `STRUCTURES`. Compares row by row, because the sensitivity of a surface coil varies along
    the spine, but little between a body and the canal behind it.
    """
    canal, disc, vertebra = outlines > _THRESHOLD
    dark = float(np.percentile(crop, 1))
    ratios_by_row = []
    for row in np.flatnonzero(canal.sum(axis=1) >= _NARROWEST_PX):
        near = slice(max(0, row - _NEAR_ROWS), row + _NEAR_ROWS + 1)
        marrow = crop[near][vertebra[near]]
        if len(marrow) >= _FEWEST_MARROW_PX:
            ratios_by_row.append(_ratio(crop[row][canal[row]], marrow, dark))
    if not ratios_by_row:
        return None
    ratios = np.array(ratios_by_row)
    has_discs = disc.sum() >= _FEWEST_DISC_PX
    return Contrast(
        canal_to_marrow=float(np.median(ratios)),
        brighter=float((ratios > 1).mean()),
        canal_mm=len(ratios) * PIXEL_MM,
        disc_to_marrow=_ratio(crop[disc], crop[vertebra], dark) if has_discs else None,
        vertebra_mm2=float(vertebra.sum()) * PIXEL_MM**2,
    )


def _ratio(part: NDArray[np.float32], marrow: NDArray[np.float32], dark: float) -> float:
    """The ratio of two median signals; bounded, because marrow may have none."""
    above, reference = float(np.median(part)) - dark, float(np.median(marrow)) - dark
    if reference <= 0:
        return _LARGEST_RATIO if above > 0 else 1.0
    return min(max(above, 0.0) / reference, _LARGEST_RATIO)
