"""Laws of the geometry over random oblique planes, and agreement with highdicom."""

from dataclasses import replace

import numpy as np
import pytest
from highdicom.spatial import (
    ImageToImageTransformer,
    ImageToReferenceTransformer,
    ReferenceToImageTransformer,
)
from hypothesis import assume, given
from hypothesis import strategies as st

from worker.domain.crop import Crop
from worker.domain.geometry import Orientation, Plane

LEFT, POSTERIOR, HEAD = np.eye(3)

angles = st.floats(-np.pi, np.pi)
spacings = st.floats(0.1, 5)
places = st.floats(-500, 500)
pixels = st.floats(-50, 1100)


@st.composite
def planes(draw):
    """A plane at any angle (a product of three rotations), anywhere, with oblong pixels."""
    turns = [draw(angles) for _ in range(3)]
    (ca, cb, cc), (sa, sb, sc) = np.cos(turns), np.sin(turns)
    about_x = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    about_y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    about_z = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    rotation = about_z @ about_y @ about_x
    return Plane(
        position_mm=tuple(draw(places) for _ in range(3)),
        along_columns=tuple(rotation[:, 0]),
        along_rows=tuple(rotation[:, 1]),
        row_spacing_mm=draw(spacings),
        column_spacing_mm=draw(spacings),
        rows=draw(st.integers(1, 1024)),
        columns=draw(st.integers(1, 1024)),
    )


@given(planes(), pixels, pixels)
def test_pixels_to_millimetres_and_back(plane, column, row):
    """to_px is the inverse of to_mm, and a point on the slice has no distance from it."""
    position = plane.to_mm(column, row)
    assert plane.to_px(position) == pytest.approx((column, row), abs=1e-6)
    assert plane.distance_mm(position) == pytest.approx(0, abs=1e-6)


@given(planes(), pixels, pixels, st.floats(-50, 50))
def test_a_point_off_the_slice_projects_along_the_normal(plane, column, row, distance):
    """Moving along the normal changes the distance by as much and the pixel not at all."""
    position = plane.to_mm(column, row) + distance * plane.normal
    assert plane.to_px(position) == pytest.approx((column, row), abs=1e-6)
    assert plane.distance_mm(position) == pytest.approx(distance, abs=1e-6)


def geometry_of(plane, suffix=""):
    """The arguments that highdicom wants of an image."""
    return {
        f"image_position{suffix}": plane.position_mm,
        f"image_orientation{suffix}": (*plane.along_columns, *plane.along_rows),
        f"pixel_spacing{suffix}": (plane.row_spacing_mm, plane.column_spacing_mm),
    }


@given(planes(), pixels, pixels)
def test_highdicom_agrees(plane, column, row):
    """An independent implementation gives the same millimetres and the same pixels."""
    geometry = geometry_of(plane)
    # highdicom's image coordinates have their origin in the corner of the first pixel.
    corner = np.array([[column + 0.5, row + 0.5]])
    (expected,) = ImageToReferenceTransformer(**geometry)(corner)
    assert plane.to_mm(column, row) == pytest.approx(expected, abs=1e-6)
    (back,) = ReferenceToImageTransformer(**geometry)(expected[None])
    assert plane.to_px(expected) == pytest.approx(tuple(back[:2] - 0.5), abs=1e-6)


@given(planes(), planes(), pixels, pixels)
def test_highdicom_projects_from_image_to_image_alike(one, other, column, row):
    """A pixel of one image, seen in another at any angle to it: same pixel, same distance."""
    corner = np.array([[column + 0.5, row + 0.5]])
    position = ImageToReferenceTransformer(**geometry_of(one))(corner)
    to_other = ReferenceToImageTransformer(**geometry_of(other), spacing_between_slices=1.0)
    ((across, down, away),) = to_other(position)
    ours = one.to_mm(column, row)
    assert other.to_px(ours) == pytest.approx((across - 0.5, down - 0.5), abs=1e-6)
    assert abs(other.distance_mm(ours)) == pytest.approx(abs(away), abs=1e-6)


@given(planes(), angles, spacings, spacings, pixels, pixels)
def test_highdicom_maps_between_images_of_one_plane_alike(
    one, turn, row_spacing, column_spacing, column, row
):
    """Two images of one plane, turned and scaled against each other, agree without a detour."""
    across, down = np.array(one.along_columns), np.array(one.along_rows)
    other = Plane(
        position_mm=tuple(one.to_mm(7.25, -3.5)),
        along_columns=tuple(np.cos(turn) * across + np.sin(turn) * down),
        along_rows=tuple(np.cos(turn) * down - np.sin(turn) * across),
        row_spacing_mm=row_spacing,
        column_spacing_mm=column_spacing,
        rows=one.rows,
        columns=one.columns,
    )
    transform = ImageToImageTransformer(**geometry_of(one, "_from"), **geometry_of(other, "_to"))
    (expected,) = transform(np.array([[column + 0.5, row + 0.5]]))
    assert other.to_px(one.to_mm(column, row)) == pytest.approx(tuple(expected - 0.5), abs=1e-5)


@given(planes(), st.floats(-0.5, 0.5))
def test_shears_are_refused_and_rounding_is_mended(plane, sine):
    """Rows that lean by more than 1 % make no plane; below that they are made perpendicular."""
    assume(not 0.0099 < abs(sine) < 0.0101)
    across, down = np.array(plane.along_columns), np.array(plane.along_rows)
    leaning = tuple(np.sqrt(1 - sine**2) * down + sine * across)

    def sheared():
        return replace(plane, along_rows=leaning)

    if abs(sine) > 0.01:
        with pytest.raises(ValueError, match="perpendicular"):
            sheared()
    else:
        assert sheared().along_rows == pytest.approx(plane.along_rows, abs=1e-6)


@given(planes())
def test_orientation_is_that_of_the_largest_normal_component(plane):
    """However oblique, a slice is named after the axis its normal is closest to."""
    axis = list(Orientation).index(plane.orientation)
    assert abs(plane.normal[axis]) == pytest.approx(np.abs(plane.normal).max())
    assert np.linalg.norm(plane.normal) == pytest.approx(1)


@given(planes(), st.sampled_from([None, *Orientation]), pixels, pixels)
def test_every_slice_is_seen_the_usual_way_round(plane, seen_as, column, row):
    """However a slice was stored, its window runs along the patient axes of the usual view.

    So it is where a series is seen as another plane than the slice itself lies closest to.
    """
    plane = replace(plane, seen_as=seen_as)
    crop = Crop(np.zeros((10, 10), np.float32), plane.grid.window(column, row, 10.0, 10.0))
    here, right, below = (plane.to_mm(*crop.to_image_px(*p)) for p in ((4, 4), (5, 4), (4, 5)))
    across, down = {
        Orientation.SAGITTAL: (POSTERIOR, -HEAD),
        Orientation.CORONAL: (LEFT, -HEAD),
        Orientation.AXIAL: (LEFT, POSTERIOR),
    }[plane.orientation]
    # A millimetre of the window is one of the patient.
    assert np.linalg.norm(right - here) == pytest.approx(1)
    assert np.linalg.norm(below - here) == pytest.approx(1)
    # No other of the eight ways to lay the slice down comes closer to the usual view.
    agreement = (right - here) @ across + (below - here) @ down
    for other in (right - here, here - right):
        for another in (below - here, here - below):
            for one, two in ((other, another), (another, other)):
                assert agreement >= one @ across + two @ down - 1e-6
