"""The volume: a stack that knows its order and its nearest slice."""

import numpy as np
import pytest

from dicom_sr.findings import ImageReference
from worker.domain.geometry import Plane
from worker.domain.study import Role, SliceHeader
from worker.domain.volume import Volume, Volumes


def sagittal(x):
    plane = Plane((x, 0.0, 0.0), (0, 1, 0), (0, 0, -1), 1.0, 1.0, 4, 4)
    return SliceHeader(f"{x}", ImageReference("1.2", f"1.2.{abs(x):.0f}"), None, plane)


def volume(*places):
    return Volume(
        Role.SAGITTAL_T2,
        np.zeros((len(places), 4, 4), np.float32),
        tuple(sagittal(x) for x in places),
    )


def test_the_order_is_along_the_normal():
    """These slices look towards -x: descending x is their order, ascending is refused."""
    assert volume(8.0, 4.0, 0.0).normal == pytest.approx([-1, 0, 0])
    with pytest.raises(ValueError, match="ordered along their normal"):
        volume(0.0, 4.0, 8.0)


def test_pixels_and_slices_must_agree():
    """Two images and one slice are no volume."""
    with pytest.raises(ValueError, match="pixels of shape"):
        Volume(Role.SAGITTAL_T2, np.zeros((2, 4, 4), np.float32), (sagittal(0.0),))


def test_the_nearest_slice_and_its_distance():
    """Uneven gaps need no special case: the plane that passes closest is found."""
    index, distance = volume(20.0, 4.0, 0.0).nearest_slice(np.array([9.0, 50, 50]))
    assert (index, distance) == (1, pytest.approx(5))


def test_volumes_by_role():
    """Each role gives its own volumes, and `all` gives every one."""
    one = volume(4.0, 0.0)
    volumes = Volumes(sagittal_t2=(one,))
    assert [volumes.of(role) for role in Role] == [(), (one,), ()]
    assert volumes.all == (one,)
