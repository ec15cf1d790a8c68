"""The middle slice of a series: fetched, decoded, and shown to the recogniser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from worker.domain.geometry import Orientation
from worker.domain.study import Series, SliceHeader, Unreadable
from worker.intake.decoding import decode, pixels_of
from worker.intake.loading import Fetch
from worker.intake.recognition import Recognition

NO_AXIAL: Final = "axial slices are not told apart by their pixels"


@dataclass(frozen=True)
class MiddleSlice:
    """A `Recogniser` that fetches one object of a sagittal series, and none of any other.

    There is no axial T1 to learn from or to measure on, and an axial T1 taken for T2 would
    be graded: axial slices are left undecided.
    """

    fetch: Fetch

    def __call__(self, series: Series) -> Recognition:
        """What the middle slice shows.

        Raises `ArchiveUnavailable`, and `BundleMissing` or `BundleMismatch` where the
        packaged weights are gone or changed; a worker asks that at its start.
        """
        middle = _middle(series)
        if middle.plane.orientation is not Orientation.SAGITTAL:
            return Recognition(None, NO_AXIAL)
        frames = next(
            (decode(key, content) for key, content in self.fetch([middle.key])),
            Unreadable(middle.key, "gone from the archive"),
        )
        if isinstance(frames, Unreadable):
            return Recognition(None, f"its middle slice cannot be decoded: {frames.error}")
        pixels = pixels_of(middle, frames)
        if pixels is None:
            return Recognition(None, "the pixels of its middle slice do not fit the header")
        # Torch is slow to import, and most studies never need it here.
        from worker.recognise.recogniser import packaged

        return packaged().look(pixels, middle.plane.grid)


def _middle(series: Series) -> SliceHeader:
    """The slice in the middle of the stack, whatever the order of files and frames."""
    ordered = sorted(
        series.slices,
        key=lambda h: (h.plane.offset_mm, h.image.sop_instance_uid, h.image.frame or 0),
    )
    return ordered[len(ordered) // 2]
