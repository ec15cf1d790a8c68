"""The physics: how bright the canal and the discs are beside the marrow at the same height."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.recognise.network import PIXEL_MM

_SURE: Final = 0.5
"""An outline holds the pixels that more probably belong to it than not."""

_NARROWEST_PX: Final = 2
"""A third of the canal's width: a row with less of it is mostly its edge."""

_NEAR_ROWS: Final = 2
"""Marrow within 5 mm above and below is marrow at the height of a row."""

_FEWEST_MARROW_PX: Final = 12
"""About as much as one row of a body holds; fewer have no median worth the name."""

_FEWEST_DISC_PX: Final = 20
"""125 mm2, less than half of one disc."""

_LARGEST_RATIO: Final = 50.0
"""Far above every limit, and finite where marrow is black."""


@dataclass(frozen=True)
class Contrast:
    """What one slice shows; ratios of brightness above the darkest of the slice.

    `canal_to_marrow` is the median over the rows that show both, `brighter` the share of
    these rows in which the canal is the brighter, `canal_mm` how many millimetres of rows
    there are. `disc_to_marrow` is None where no discs are seen. `vertebra_mm2` is the area
    of the bodies.
    """

    canal_to_marrow: float
    brighter: float
    canal_mm: float
    disc_to_marrow: float | None
    vertebra_mm2: float


def measure(crop: NDArray[np.float32], outlines: NDArray[np.float32]) -> Contrast | None:
    """Compare canal, discs and marrow of a crop (height, width); None where there is no canal.

    `outlines` has shape (structures, height, width), probabilities, in the order of
    `STRUCTURES`. Row by row, since the sensitivity of a surface coil changes along the spine
    and hardly between a body and the canal behind it.
    """
    canal, disc, vertebra = outlines > _SURE
    dark = float(np.percentile(crop, 1))
    found = []
    for row in np.flatnonzero(canal.sum(axis=1) >= _NARROWEST_PX):
        near = slice(max(0, row - _NEAR_ROWS), row + _NEAR_ROWS + 1)
        marrow = crop[near][vertebra[near]]
        if len(marrow) >= _FEWEST_MARROW_PX:
            found.append(_ratio(crop[row][canal[row]], marrow, dark))
    if not found:
        return None
    ratios = np.array(found)
    discs_seen = disc.sum() >= _FEWEST_DISC_PX
    return Contrast(
        canal_to_marrow=float(np.median(ratios)),
        brighter=float((ratios > 1).mean()),
        canal_mm=len(ratios) * PIXEL_MM,
        disc_to_marrow=_ratio(crop[disc], crop[vertebra], dark) if discs_seen else None,
        vertebra_mm2=float(vertebra.sum()) * PIXEL_MM**2,
    )


def _ratio(part: NDArray[np.float32], marrow: NDArray[np.float32], dark: float) -> float:
    """The ratio of two median brightnesses; bounded, since marrow may be black."""
    above, reference = float(np.median(part)) - dark, float(np.median(marrow)) - dark
    if reference <= 0:
        return _LARGEST_RATIO if above > 0 else 1.0
    return min(max(above, 0.0) / reference, _LARGEST_RATIO)
