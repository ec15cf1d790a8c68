"""Whether two series share a patient space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from worker.domain.study import Series

MIN_OVERLAP: Final = 0.25
"""Share of the smaller extent, along each patient axis, that two stacks must have in common.

An axial slab lies inside the sagittal stack except for its sides; two neighbouring stations
of a whole spine share about a tenth of their height.
"""


def same_space(one: Series, other: Series) -> bool:
    """Whether patient coordinates of two series of one study are comparable.

    True with a common frame of reference; also with two (de-identification may give every
    series its own) when the stacks overlap; pixels are compared later (see `alignment`).
    Different values of PatientPosition mean that the patient was moved; an absent one
    contradicts nothing.
    """
    here, there = one.patient_position, other.patient_position
    if here and there and here != there:
        return False
    if same_frame_of_reference(one, other):
        return True
    return overlap(one, other)


def same_frame_of_reference(one: Series, other: Series) -> bool:
    """Whether both have the same frame of reference."""
    uid = one.frame_of_reference_uid
    return uid is not None and uid == other.frame_of_reference_uid


def frames_contradict(one: str | None, other: str | None, all_frames: Sequence[str | None]) -> bool:
    """Whether two frames of reference differ in a study where series share one.

    A console that gives every series a frame of its own says nothing by that.
    """
    shared = {frame for frame, count in Counter(all_frames).items() if frame and count > 1}
    return bool(one != other and shared & {one, other})


def overlap(one: Series, other: Series) -> bool:
    """Whether two stacks share `MIN_OVERLAP` of the smaller extent along each patient axis."""
    if not one.slices or not other.slices:
        return False
    (low_a, high_a), (low_b, high_b) = one.extent_mm, other.extent_mm
    shared = np.minimum(high_a, high_b) - np.maximum(low_a, low_b)
    smaller = np.minimum(high_a - low_a, high_b - low_b)
    return bool((shared >= MIN_OVERLAP * smaller).all())
