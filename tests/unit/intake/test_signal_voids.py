"""Signal voids beside the spine: on slices painted by hand."""

import numpy as np
import pytest

from dicom_sr.findings import ImageReference
from worker.domain.geometry import Plane
from worker.domain.study import Role, SliceHeader
from worker.domain.volume import Volume
from worker.intake.signal_voids import LEAST_MM2, largest_void_mm2

SPINE_MM = [np.array((0.0, 0.0, z)) for z in (60.0, 30.0, 0.0, -30.0, -60.0)]


def volume(*voids: tuple[slice, slice], background: float = 100.0) -> Volume:
    """Three slices of 200 x 200 pixels of 1 mm around the spine; the middle one has the voids."""
    planes = [
        Plane((x, -100.0, 100.0), (0, 1, 0), (0, 0, -1), 1.0, 1.0, 200, 200) for x in (4, 0, -4)
    ]
    pixels = np.full((3, 200, 200), background, dtype=np.float32)
    for rows, columns in voids:
        pixels[1, rows, columns] = 0.0
    headers = tuple(
        SliceHeader(str(n), ImageReference("1.2", f"1.2.{n + 1}"), n, plane)
        for n, plane in enumerate(planes)
    )
    return Volume(Role.SAGITTAL_T1, pixels, headers)


@pytest.mark.parametrize(
    ("voids", "area_mm2"),
    [
        ((), 0),
        (((slice(95, 107), slice(110, 122)),), 144),
        (((slice(95, 99), slice(110, 114)), (slice(105, 109), slice(110, 114))), 16),
        (((slice(95, 107), slice(20, 40)),), 0),  # in front of the spine
        (((slice(95, 107), slice(160, 180)),), 0),  # under the skin
        (((slice(10, 30), slice(95, 105)),), 0),  # above L1/L2
        (((slice(0, 200), slice(0, 150)),), 0),  # a slice beside the body
    ],
)
def test_the_largest_void_within_reach_counts(voids, area_mm2):
    """Its area in square millimetres, of one connected region."""
    assert largest_void_mm2(volume(*voids), SPINE_MM) == pytest.approx(area_mm2)
    assert LEAST_MM2 < 144


def test_places_without_a_spine_have_no_void():
    """Points outside of the slices: nothing to measure."""
    far = [point + np.array((0.0, 500.0, 500.0)) for point in SPINE_MM]
    assert largest_void_mm2(volume((slice(95, 107), slice(110, 122))), far) == 0
