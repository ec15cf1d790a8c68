"""Fetches and decodes the middle slice of a series, and runs the recogniser on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from worker.domain.geometry import Orientation
from worker.domain.study import Series, SliceHeader, Unreadable
from worker.intake.decoding import decode, pixels_of
from worker.intake.loading import Fetch
from worker.intake.recognition import Recognition

NO_AXIAL: Final = "pixels are not used for axial series"


@dataclass(frozen=True)
class MiddleSlice:
    """A `Recogniser` that fetches one object of a sagittal series, and none of other series.

    There is no axial T1 for training or evaluation, and an axial T1 mistaken for T2 would be
    graded: axial series stay undecided.
    """

    fetch: Fetch

    def __call__(self, series: Series) -> Recognition:
        """Recognise the middle slice.

        Raises `ArchiveUnavailable`, and `BundleMissing` or `BundleMismatch` where the
        packaged weights are missing or changed; a worker checks them at start.
        """
        middle = _middle(series)
        if middle.plane.orientation is not Orientation.SAGITTAL:
            return Recognition(None, NO_AXIAL)
        frames = next(
            (decode(key, content) for key, content in self.fetch([middle.key])),
            Unreadable(middle.key, "no longer in the archive"),
        )
        if isinstance(frames, Unreadable):
            return Recognition(None, f"the middle slice cannot be decoded: {frames.error}")
        pixels = pixels_of(middle, frames)
        if pixels is None:
            return Recognition(None, "the pixels of the middle slice do not match the header")
        # Torch is slow to import, and routing rarely needs it.
        from worker.recognise.recogniser import packaged

        return packaged().recognise(pixels, middle.plane.grid)


def _middle(series: Series) -> SliceHeader:
    """The middle slice of the stack; independent of the order of files and frames."""
    ordered = sorted(
        series.slices,
        key=lambda h: (h.plane.offset_mm, h.image.sop_instance_uid, h.image.frame or 0),
    )
    return ordered[len(ordered) // 2]
