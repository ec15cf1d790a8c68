"""A foramen's neighbouring slices: towards the patient's side first, towards the middle last."""

import numpy as np
import pytest

from dicom_sr.findings import ImageReference, Level, Side
from worker.domain.geometry import Plane
from worker.domain.points import LevelPoint
from worker.domain.study import Role, SliceHeader
from worker.domain.volume import Volume
from worker.grade.crop_windows import FORAMINAL_SHAPE, CropOptions, widened
from worker.grade.crops import Crops

OPTIONS = CropOptions()


def volume(xs: list[float], *, reverse: bool = False, tilt: float = 0.0) -> Volume:
    """Sagittal slices at these patient x, each as grey as its x says: 1000 + x.

    Ordered along their normal, which points to the patient's right, or left with `reverse`.
    """
    across = np.array([tilt, 1.0, 0.0])
    columns = across / np.linalg.norm(across) * (-1 if reverse else 1)
    headers, greys = [], []
    for n, x in enumerate(xs):
        plane = Plane((x, 0.0, 0.0), tuple(columns), (0.0, 0.0, -1.0), 1.0, 1.0, 200, 200)
        headers.append(SliceHeader(str(n), ImageReference("1.2", f"1.2.{n}"), n + 1, plane))
        greys.append(1000.0 + x)
    order = sorted(range(len(xs)), key=lambda n: headers[n].plane.offset_mm)
    pixels = np.stack([np.full((200, 200), greys[n], np.float32) for n in order])
    return Volume(Role.SAGITTAL_T1, pixels, tuple(headers[n] for n in order))


def seen(stack: Volume, x: float, side: Side) -> list[float]:
    """Patient x of the slices that the grader sees of a foramen on the slice at x."""
    index = next(n for n, p in enumerate(stack.planes) if abs(p.position_mm[0] - x) < 1e-6)
    point = LevelPoint(Level.L4_L5, side, stack, index, 100.0, 100.0, 1.0)
    crops = Crops(OPTIONS).foraminal_crops(point, 30.0)
    assert {crop.pixels.shape for crop in crops} == {widened(FORAMINAL_SHAPE, OPTIONS.view_context)}
    return [float(np.median(crop.pixels)) - 1000 for crop in crops]


USUAL = [4.5 * n for n in range(-4, 5)]
ORDERS = pytest.mark.parametrize("reverse", [False, True], ids=["as usual", "other way"])


@ORDERS
@pytest.mark.parametrize(
    ("side", "lateral"), [(Side.LEFT, 4.5), (Side.RIGHT, -4.5)], ids=["left", "right"]
)
def test_the_lateral_slice_comes_first_however_they_are_stored(reverse, side, lateral) -> None:
    """Patient left is +x: of a left foramen the lateral slice has the larger x."""
    stack = volume(USUAL, reverse=reverse)
    here = 3 * lateral
    assert seen(stack, here, side) == pytest.approx([here + lateral, here, here - lateral])
    # On whichever side of the patient the slice lies: the point's side alone decides.
    assert seen(stack, -here, side) == pytest.approx([-here + lateral, -here, -here - lateral])


@ORDERS
@pytest.mark.parametrize("side", list(Side))
def test_at_the_end_of_the_series_the_slice_stands_for_itself(reverse, side) -> None:
    """No slice of the other direction is put where there is none."""
    stack = volume(USUAL, reverse=reverse)
    sign = 1 if side is Side.LEFT else -1
    last, first = sign * USUAL[-1], sign * USUAL[0]
    assert seen(stack, last, side) == pytest.approx([last, last, last - sign * 4.5])
    assert seen(stack, first, side) == pytest.approx([first + sign * 4.5, first, first])


@ORDERS
@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("step", [0.9, 1.0, 1.8, 2.0, 3.0, 4.0, 5.0, 6.0])
def test_the_neighbour_lies_a_usual_slice_distance_away(reverse, side, step: float) -> None:
    """Of thin slices not the next ones are taken, but those about 4.5 mm off, both ways alike.

    Of two that are equally far off (1, 1.8 and 3 mm) the nearer one, whatever the side.
    """
    stack = volume([step * n for n in range(-16, 17)], reverse=reverse)
    lateral, here, medial = seen(stack, 0.0, side)
    sign = 1 if side is Side.LEFT else -1
    away = min((step * n for n in range(1, 17)), key=lambda mm: abs(mm - OPTIONS.neighbour_mm))
    assert (lateral, here, medial) == pytest.approx((sign * away, 0.0, -sign * away), abs=1e-3)


@pytest.mark.parametrize("side", list(Side))
def test_slices_too_far_apart_are_no_neighbours(side: Side) -> None:
    """Where the next slice shows something else, the slice stands for itself."""
    assert seen(volume([-9.9, 0.0, 9.9]), 0.0, side) == pytest.approx([0, 0, 0])


@pytest.mark.parametrize("side", list(Side))
def test_a_single_slice_is_its_own_neighbours(side: Side) -> None:
    """One slice is still three crops."""
    assert seen(volume([3.0]), 3.0, side) == pytest.approx([3, 3, 3])


@ORDERS
@pytest.mark.parametrize("tilt", [-0.15, 0.15])
@pytest.mark.parametrize("side", list(Side))
def test_a_stack_laid_along_a_leaning_spine_keeps_the_order(reverse, tilt, side) -> None:
    """Slices a few degrees off the sagittal plane have their lateral neighbour still."""
    sign = 1 if side is Side.LEFT else -1
    lateral, here, medial = seen(volume(USUAL, reverse=reverse, tilt=tilt), 0.0, side)
    assert (lateral, here, medial) == pytest.approx((sign * 4.5, 0.0, -sign * 4.5))
