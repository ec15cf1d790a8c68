"""Whether two series may be projected into each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from worker.nouns.study import SliceHeader

MIN_OVERLAP: Final = 0.25
"""Share of the smaller extent, along each patient axis, that two stacks must have in common.

An axial slab lies inside the sagittal stack but for its sides; two neighbouring stations
of a whole spine share about a tenth of their height.
"""


class Placed(Protocol):
    """A `Series` or a `Volume`: slices of one patient position."""

    @property
    def slices(self) -> tuple[SliceHeader, ...]:
        """The slices."""

    @property
    def patient_position(self) -> str:
        """Patient Position (PS3.3 C.7.3.1.1.2), empty where unknown."""

    @property
    def frame_of_reference_uid(self) -> str | None:
        """Frame of Reference UID (PS3.3 C.7.4.1), None where unknown."""


def same_space(one: Placed, other: Placed) -> bool:
    """Whether patient positions in the two series of one study mean the same place.

    True in one frame of reference; also in two (de-identification is known to give every
    series its own) when PatientPosition agrees and the stacks overlap. A PatientPosition
    that contradicts the other says that the patient was moved.
    """
    here, there = one.patient_position, other.patient_position
    if here and there and here != there:
        return False
    if same_frame_of_reference(one, other):
        return True
    return here == there and overlap(one.slices, other.slices)


def same_frame_of_reference(one: Placed, other: Placed) -> bool:
    """Whether both name the same frame of reference."""
    uid = one.frame_of_reference_uid
    return uid is not None and uid == other.frame_of_reference_uid


def overlap(one: Sequence[SliceHeader], other: Sequence[SliceHeader]) -> bool:
    """Whether two stacks share `MIN_OVERLAP` of the smaller extent along each patient axis."""
    if not one or not other:
        return False
    (low_a, high_a), (low_b, high_b) = extent_mm(one), extent_mm(other)
    shared = np.minimum(high_a, high_b) - np.maximum(low_a, low_b)
    smaller = np.minimum(high_a - low_a, high_b - low_b)
    return bool((shared >= MIN_OVERLAP * smaller).all())


def extent_mm(slices: Sequence[SliceHeader]) -> NDArray[np.float64]:
    """The box around all slice corners, shape (2, 3): lowest and highest LPS in mm."""
    planes = [header.plane for header in slices]
    origin = np.array([p.position_mm for p in planes])
    across = np.array([p.along_columns for p in planes]) * np.array(
        [[p.column_spacing_mm * (p.columns - 1)] for p in planes]
    )
    down = np.array([p.along_rows for p in planes]) * np.array(
        [[p.row_spacing_mm * (p.rows - 1)] for p in planes]
    )
    corners = np.concatenate([origin, origin + across, origin + down, origin + across + down])
    box: NDArray[np.float64] = np.stack([corners.min(axis=0), corners.max(axis=0)])
    return box
