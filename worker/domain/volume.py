"""A stack of parallel slices with their pixels and their place in the patient."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import ImageReference, NotAssessedReason
from worker.domain.geometry import Orientation, Plane, Vector
from worker.domain.study import Repair, Role, SliceHeader


@dataclass(frozen=True, eq=False)
class Volume:
    """Parallel slices of one shape, ordered along their common normal.

    `pixels` has shape (slices, rows, columns), float32, in modality units (after
    rescale; MONOCHROME1 inverted). `slices[k]` describes `pixels[k]`; its plane is
    exact per slice, so uneven gaps need no special case. One series may give several
    volumes, one for each orientation and shape.

    Raises ValueError when pixels and slices disagree or the order is not along the normal.
    """

    role: Role
    pixels: NDArray[np.float32]
    slices: tuple[SliceHeader, ...]
    patient_position: str = ""
    frame_of_reference_uid: str | None = None

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or len(self.pixels) != len(self.slices) or not self.slices:
            raise ValueError("a volume needs pixels of shape (slices, rows, columns)")
        offsets = [float(self.normal @ np.array(p.position_mm)) for p in self.planes]
        if any(b < a for a, b in itertools.pairwise(offsets)):
            raise ValueError("the slices of a volume must be ordered along their normal")

    @property
    def planes(self) -> tuple[Plane, ...]:
        """The plane of every slice, in order."""
        return tuple(header.plane for header in self.slices)

    @property
    def normal(self) -> Vector:
        """The common unit normal, shape (3,)."""
        return self.slices[0].plane.normal

    @property
    def orientation(self) -> Orientation:
        """The anatomical plane of the slices."""
        return self.slices[0].plane.orientation

    @property
    def series_instance_uid(self) -> str:
        """The series that the slices come from."""
        return self.slices[0].image.series_instance_uid

    def image(self, index: int) -> ImageReference:
        """The reference of one slice."""
        return self.slices[index].image

    def nearest_slice(self, position_mm: Vector) -> tuple[int, float]:
        """Index of the slice whose plane passes closest, and that distance in mm (>= 0)."""
        distances = [abs(plane.distance_mm(position_mm)) for plane in self.planes]
        index = int(np.argmin(distances))
        return index, distances[index]


@dataclass(frozen=True, eq=False)
class Volumes:
    """The volumes of a study by role, best first, and what loading had to leave out.

    A sagittal role holds the volumes of one series; `axial_t2` those of all axial series.
    """

    sagittal_t1: tuple[Volume, ...] = ()
    sagittal_t2: tuple[Volume, ...] = ()
    axial_t2: tuple[Volume, ...] = ()
    repairs: tuple[Repair, ...] = ()
    absent: Mapping[Role, NotAssessedReason] = field(default_factory=dict)
    """Why a role has no volume although its images could be decoded."""

    def of(self, role: Role) -> tuple[Volume, ...]:
        """The volumes of one role."""
        by_role = {
            Role.SAGITTAL_T1: self.sagittal_t1,
            Role.SAGITTAL_T2: self.sagittal_t2,
            Role.AXIAL_T2: self.axial_t2,
        }
        return by_role[role]

    @property
    def all(self) -> tuple[Volume, ...]:
        """Every volume."""
        return self.sagittal_t1 + self.sagittal_t2 + self.axial_t2
