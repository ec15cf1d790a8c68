"""Stage 1: where the five disc levels and their structures lie. One strategy per file or folder."""

from __future__ import annotations

from typing import Final

from worker.localise.heatmaps import Heatmaps
from worker.models.seam import Localiser, StrategyClass

LOCALISERS: Final[dict[str, StrategyClass[Localiser]]] = {
    Heatmaps.name: Heatmaps,
}
"""Every localiser by its name; a new one is a file and a line here."""
