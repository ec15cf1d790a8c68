"""Laws of stacking: nothing is lost, order is by place, input order does not matter."""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_sr.findings import ImageReference
from worker.intake.stacks import stacks
from worker.nouns.geometry import Plane
from worker.nouns.study import Role, SliceHeader
from worker.nouns.volume import Volume


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
