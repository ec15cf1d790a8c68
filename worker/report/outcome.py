"""What the pipeline hands over to be shown, and where each of its images lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dicom_sr.findings import ImageReference, Report
from worker.domain.geometry import Plane
from worker.domain.study import Repair, RoutedStudy, SliceHeader
from worker.domain.volume import Volume, Volumes


class Outcome(Protocol):
    """A graded study: the report, and everything that explains it."""

    @property
    def report(self) -> Report:
        """The 25 findings."""

    @property
    def routed(self) -> RoutedStudy:
        """Which series took which role, and which none."""

    @property
    def volumes(self) -> Volumes:
        """The pixels that were graded."""

    @property
    def repairs(self) -> Sequence[Repair]:
        """What intake had to mend."""

    @property
    def timings_ms(self) -> Mapping[str, float]:
        """How long each step took."""


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice of one volume."""

    volume: Volume
    index: int

    @property
    def header(self) -> SliceHeader:
        """Which image it is."""
        return self.volume.slices[self.index]

    @property
    def plane(self) -> Plane:
        """Where it lies in the patient."""
        return self.header.plane


def slices_by_image(volumes: Volumes) -> dict[ImageReference, Slice]:
    """Every loaded slice by the reference that findings use."""
    return {
        header.image: Slice(volume, index)
        for volume in volumes.all
        for index, header in enumerate(volume.slices)
    }
