"""Which series share a patient space."""

import pytest

from worker.intake.headers import read_study
from worker.intake.space import same_space


@pytest.fixture
def series(make_series):
    def make(plane, uid, shift=0.0, **changes):
        instances = make_series(plane, uid, **changes)
        for instance in instances:
            x, y, z = instance.header.ImagePositionPatient
            instance.header.ImagePositionPatient = [x, y, z + shift]
        return read_study(instances).series[0]

    return make


@pytest.mark.parametrize(
    ("changes", "shift", "expected"),
    [
        ({}, 0, True),
        ({}, 600, True),  # one frame of reference needs no overlap
        ({"FrameOfReferenceUID": "1.8"}, 0, True),
        ({"FrameOfReferenceUID": None}, 0, True),
        ({"FrameOfReferenceUID": "1.8"}, 250, False),  # the next station of a whole spine
        ({"PatientPosition": "HFP"}, 0, False),
        ({"PatientPosition": None}, 0, True),  # unknown contradicts nothing
        ({"PatientPosition": None, "FrameOfReferenceUID": "1.8"}, 0, True),
    ],
)
def test_same_space(series, changes, shift, expected):
    """Frame of reference, or position and overlap; the relation is symmetric."""
    one = series("sagittal", "1.2.3.1")
    other = series("sagittal", "1.2.3.2", shift, **changes)
    assert same_space(one, other) is expected
    assert same_space(other, one) is expected


def test_an_axial_slab_overlaps_the_sagittal_stack(series):
    """The axial slab that lies on the sagittal slices overlaps them though its sides stick out."""
    axial = series("axial", "1.2.3.2", FrameOfReferenceUID="1.8")
    assert same_space(series("sagittal", "1.2.3.1"), axial)


def test_the_box_of_a_series_is_computed_once_and_changes_no_comparison(series):
    """All corners of all slices lie in it, and a series that was asked equals one that was not."""
    one, other = series("sagittal", "1.2.3.1"), series("sagittal", "1.2.3.1")
    low, high = one.extent_mm
    assert one.extent_mm is one.extent_mm
    assert (low.tolist(), high.tolist()) == ([-30, -140, -135.625], [26, 135.625, 140])
    assert one == other
