"""Single slices of the loaded volumes, found by the image reference that findings use."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_sr.findings import ImageReference
from worker.domain.geometry import Plane
from worker.domain.study import SliceHeader
from worker.domain.volume import Volume, Volumes


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice of one volume."""

    volume: Volume
    index: int

    @property
    def header(self) -> SliceHeader:
        """The header of the slice."""
        return self.volume.slices[self.index]

    @property
    def plane(self) -> Plane:
        """The plane of the slice in patient space."""
        return self.header.plane


def slices_by_image(volumes: Volumes) -> dict[ImageReference, Slice]:
    """Every loaded slice by its image reference."""
    return {
        header.image: Slice(volume, index)
        for volume in volumes.all
        for index, header in enumerate(volume.slices)
    }
