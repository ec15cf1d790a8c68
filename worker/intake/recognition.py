"""The interface by which routing asks for the weighting that the pixels of a series show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from worker.domain.study import Series
from worker.intake.weighting import Weighting


@dataclass(frozen=True)
class Recognition:
    """The weighting that one slice shows, or None, with the reason."""

    weighting: Weighting | None
    because: str


class Recogniser(Protocol):
    """Recognises the weighting of one slice; called only for undecided series.

    May raise `ArchiveUnavailable`; a slice that cannot be read gives no weighting.
    """

    def __call__(self, series: Series) -> Recognition:
        """The weighting that the middle slice of the series shows."""
        ...
