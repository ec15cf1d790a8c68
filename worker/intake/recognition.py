"""What routing asks of whoever looks at pixels, for a series whose headers say nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from worker.domain.study import Series
from worker.intake.weighting import Weighting


@dataclass(frozen=True)
class Recognition:
    """The weighting that one slice shows, or None, and why."""

    weighting: Weighting | None
    because: str


class Recogniser(Protocol):
    """Looks at one slice of a series; called for undecided series alone.

    May raise `ArchiveUnavailable`; a slice that cannot be read is a recognition of nothing.
    """

    def __call__(self, series: Series) -> Recognition:
        """What the series' middle slice shows."""
        ...
