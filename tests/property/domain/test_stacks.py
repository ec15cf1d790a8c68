"""Laws of stacking: nothing is lost, order is by place, input order does not matter."""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_sr.findings import ImageReference
from worker.domain.geometry import Plane
from worker.domain.study import Role, SliceHeader
from worker.domain.volume import Volume
from worker.intake.stacks import stacks


def axial(number, tilt_deg, z, size):
    """An axial slice, tilted about x, its origin far from the axis as in a real image."""
    c, s = np.cos(np.radians(tilt_deg)), np.sin(np.radians(tilt_deg))
    plane = Plane((-90.0, -90.0 * c, z - 90.0 * s), (1, 0, 0), (0, c, s), 0.5, 0.5, size, size)
    return SliceHeader(f"{number}", ImageReference("1.2", f"1.2.{number}"), number, plane)


slices = st.lists(
    st.tuples(st.floats(-30, 30), st.floats(-100, 100), st.sampled_from([8, 16])),
    min_size=1,
    max_size=25,
).map(lambda found: [axial(n, *one) for n, one in enumerate(found)])


@given(slices, st.integers(0, 9))
@settings(deadline=None)
def test_stacks_are_volumes_and_lose_nothing(headers, seed):
    """Every slice lies in one stack or is named as dropped, and every stack is a volume."""
    found, dropped = stacks(headers)
    placed = [header for stack in found for header in stack]
    assert sorted(h.key for h in [*placed, *dropped]) == sorted(h.key for h in headers)
    for stack in found:
        size = stack[0].plane.rows
        Volume(Role.AXIAL_T2, np.zeros((len(stack), size, size), np.float32), stack)
    shuffled = random.Random(seed).sample(headers, len(headers))
    again, dropped_again = stacks(shuffled)
    assert again == found
    assert set(dropped_again) == set(dropped)


blocks = st.lists(
    st.tuples(
        st.sampled_from([8, 16]),
        # Heights of the slices: any gaps between them, none in one place with another.
        st.lists(st.integers(-100, 100), min_size=1, max_size=8, unique=True),
        # Which of them are stored a second time.
        st.sets(st.integers(0, 7)),
    ),
    min_size=1,
    max_size=5,
)


@given(blocks, st.integers(0, 9))
def test_blocks_of_a_series_are_told_apart(found_blocks, seed):
    """Each angle and shape is a stack along its normal, gaps and all; repeats are dropped."""
    headers, expected, repeated = [], [], []
    for block, (size, heights, again) in enumerate(found_blocks):
        first = len(headers)
        # 8 degrees apart: no two blocks agree in direction.
        headers += [axial(first + n, 8 * block - 16, z, size) for n, z in enumerate(heights)]
        own = headers[first:]
        expected.append(sorted(own, key=lambda h: h.plane.position_mm[2]))
        repeated += [
            axial(f"9999{h.key}", 8 * block - 16, heights[n], size)
            for n, h in enumerate(own)
            if n in again
        ]
    mixed = random.Random(seed).sample([*headers, *repeated], len(headers) + len(repeated))
    found, dropped = stacks(mixed)
    assert {h.key for h in dropped} == {h.key for h in repeated}
    assert sorted([h.key for h in stack] for stack in found) == sorted(
        [h.key for h in stack] for stack in expected
    )
    assert [len(stack) for stack in found] == sorted(map(len, expected), reverse=True)
