"""Geometry of stage 1, with a stand-in network that reads painted codes.

Each structure is painted as a disc of its own grey value; the stand-in draws heat exactly
where it sees that value. What is tested is everything around the network: views, flips,
sides by patient x, the choice of slices, projection.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dicom_sr.findings import ImageReference, Level, Side
from worker.domain.geometry import Orientation, Plane
from worker.domain.study import Role, SliceHeader
from worker.domain.volume import Volume
from worker.localise.heatmaps.axial import choose_slice, find_canals, recess_heights
from worker.localise.heatmaps.foramina import find_foramina
from worker.localise.heatmaps.levels import find_levels
from worker.localise.heatmaps.options import HeatmapOptions
from worker.localise.heatmaps.views import sagittal_view
from worker.localise.heatmaps.windows import AXIAL_POINTS, SAGITTAL_POINTS, AxialPoint, Structure

OPTIONS = HeatmapOptions()
LEVELS = list(Level)
CANAL = {level: np.array([3.0, 20.0 + 2 * n, 60.0 - 31 * n]) for n, level in enumerate(LEVELS)}
FORAMEN = {
    (level, side): CANAL[level] + [sign * (15 + n), -5.0, 5.0]
    for n, level in enumerate(LEVELS)
    for side, sign in ((Side.LEFT, 1), (Side.RIGHT, -1))
}
SPAN = 18.0


class Coded:
    """Draws heat where a crop shows a point's code."""

    def platt(self, network: str, score: float) -> float:
        return score

    def run(self, network: str, crops: Tensor) -> Tensor:
        codes = range(1, 1 + len(SAGITTAL_POINTS if network == "sagittal_points" else AXIAL_POINTS))
        heat = torch.cat([((crops - 100 * code).abs() < 30).float() for code in codes], dim=1)
        # A drawn disc is flat: blurred, it has its peak in the middle.
        heat = functional.avg_pool2d(functional.avg_pool2d(heat, 4), 3, stride=1, padding=1)
        return torch.logit(heat.clamp(1e-4, 1 - 1e-4))


def code(structure: Structure, level: Level) -> float:
    return 100.0 * (1 + SAGITTAL_POINTS.index((structure, level)))


def paint(volume_pixels: np.ndarray, planes: list[Plane], where: np.ndarray, value: float) -> None:
    """Paint a disc of 5 mm radius on the slices within 2.1 mm of a patient position."""
    for pixels, plane in zip(volume_pixels, planes, strict=True):
        if abs(plane.distance_mm(where)) > 2.1:
            continue
        column, row = plane.to_px(where)
        ys, xs = np.mgrid[: plane.rows, : plane.columns]
        dx, dy = (xs - column) * plane.column_spacing_mm, (ys - row) * plane.row_spacing_mm
        pixels[dx**2 + dy**2 < 25] = value


def volume(role: Role, planes: list[Plane], spots: list[tuple[np.ndarray, float]]) -> Volume:
    normal = planes[0].normal
    planes = sorted(planes, key=lambda plane: float(normal @ np.array(plane.position_mm)))
    pixels = np.zeros((len(planes), planes[0].rows, planes[0].columns), dtype=np.float32)
    for where, value in spots:
        paint(pixels, planes, where, value)
    slices = tuple(
        SliceHeader(str(n), ImageReference(role.value, f"1.{n}"), n, plane)
        for n, plane in enumerate(planes)
    )
    return Volume(role, pixels, slices)


def sagittal_planes(from_left: bool, flipped: bool) -> list[Plane]:
    """17 sagittal slices 4 mm apart; `flipped` stores them feet first and back to front."""
    planes = []
    for n in range(17):
        x = (32.0 - 4 * n) if from_left else (-32.0 + 4 * n)
        if flipped:
            planes.append(Plane((x, 130.0, -150.0), (0, -1, 0), (0, 0, 1), 1.0, 1.0, 250, 240))
        else:
            planes.append(Plane((x, -110.0, 100.0), (0, 1, 0), (0, 0, -1), 1.0, 1.0, 250, 240))
    return planes


@pytest.mark.parametrize("from_left", [True, False])
@pytest.mark.parametrize("flipped", [True, False])
def test_sides_come_from_patient_x_however_slices_are_stored(
    from_left: bool, flipped: bool
) -> None:
    """Every foramen is found on its side, level and slice, for any storage order."""
    spots = [(where, code(Structure.FORAMEN, level)) for (level, _), where in FORAMEN.items()]
    t1 = volume(Role.SAGITTAL_T1, sagittal_planes(from_left, flipped), spots)
    found = find_foramina(sagittal_view(t1, Coded()), Coded(), CANAL, OPTIONS)
    assert set(found) == set(FORAMEN)
    for key, point in found.items():
        offset = point.position_mm - FORAMEN[key]
        assert abs(offset[0]) <= 2.1
        assert np.hypot(*offset[1:]) < 2
        assert (point.side is Side.LEFT) == (point.position_mm[0] > CANAL[key[0]][0])


def test_sides_are_right_without_sagittal_t2() -> None:
    """With no canal points the midline comes from the foramina themselves."""
    spots = [(where, code(Structure.FORAMEN, level)) for (level, _), where in FORAMEN.items()]
    t1 = volume(Role.SAGITTAL_T1, sagittal_planes(True, False), spots)
    found = find_foramina(sagittal_view(t1, Coded()), Coded(), {}, OPTIONS)
    assert set(found) == set(FORAMEN)
    for key, point in found.items():
        assert np.linalg.norm(point.position_mm - FORAMEN[key]) < 4


@pytest.mark.parametrize("flipped", [True, False])
def test_levels_lie_on_the_canal_of_their_slice(flipped: bool) -> None:
    """Each disc level's canal point is found within 2 mm in plane and half a slice across."""
    spots = [(where, code(Structure.CANAL, level)) for level, where in CANAL.items()]
    t2 = volume(Role.SAGITTAL_T2, sagittal_planes(False, flipped), spots)
    found = find_levels(sagittal_view(t2, Coded()), Coded(), OPTIONS)
    assert list(found) == LEVELS
    for level, point in found.items():
        assert np.linalg.norm((point.position_mm - CANAL[level])[1:]) < 2
        assert abs(point.position_mm[0] - CANAL[level][0]) <= 2.1


@pytest.mark.parametrize("up", [1, -1], ids=["head on the right", "head on the left"])
def test_sagittal_slices_stored_on_their_side_are_turned(up: int) -> None:
    """Where columns run along the body, levels and foramina are found as on upright slices."""
    planes = [
        Plane(
            (4.0 * n - 32.0, -110.0, -150.0 if up > 0 else 100.0),
            *((0, 0, up), (0, 1, 0), 1.0, 1.0, 240, 250),
        )
        for n in range(17)
    ]
    spots = [(where, code(Structure.CANAL, level)) for level, where in CANAL.items()]
    levels = find_levels(
        sagittal_view(volume(Role.SAGITTAL_T2, planes, spots), Coded()), Coded(), OPTIONS
    )
    assert list(levels) == LEVELS
    for level, point in levels.items():
        assert np.linalg.norm((point.position_mm - CANAL[level])[1:]) < 2
    spots = [(where, code(Structure.FORAMEN, level)) for (level, _), where in FORAMEN.items()]
    foramina = find_foramina(
        sagittal_view(volume(Role.SAGITTAL_T1, planes, spots), Coded()), Coded(), CANAL, OPTIONS
    )
    assert set(foramina) == set(FORAMEN)
    for key, point in foramina.items():
        assert np.linalg.norm((point.position_mm - FORAMEN[key])[1:]) < 2
        assert (point.side is Side.LEFT) == (point.position_mm[0] > CANAL[key[0]][0])


def axial_planes(right_to_left: bool = True, on_their_side: bool = False) -> list[Plane]:
    """40 axial slices 4 mm apart, columns to the patient's left or, mirrored, to the right.

    On their side it is the rows that run so, and the columns run to the back.
    """
    sign = 1 if right_to_left else -1
    directions = [(sign, 0, 0), (0, 1, 0)][:: -1 if on_their_side else 1]
    return [
        Plane((-90.0 * sign, -70.0, 70.0 - 4 * n), *directions, 0.6, 0.6, 300, 300)
        for n in range(40)
    ]


@pytest.mark.parametrize("right_to_left", [True, False])
@pytest.mark.parametrize("on_their_side", [True, False])
def test_recesses_keep_the_patients_side(right_to_left: bool, on_their_side: bool) -> None:
    """The left recess has the larger x, also in slices stored mirrored or on their side."""
    axial_code = {name: 100.0 * (1 + n) for n, name in enumerate(AXIAL_POINTS)}
    # A painted code is not symmetric, so the stand-in is asked only once per view: codes of
    # both sides are painted where the network, trained on mirrored crops, would see them.
    level = Level.L4_L5
    spots = [
        (CANAL[level] + [SPAN / 2, 0, 0], axial_code[AxialPoint.LEFT_RECESS]),
        (CANAL[level] - [SPAN / 2, 0, 0], axial_code[AxialPoint.RIGHT_RECESS]),
    ]
    axial = volume(Role.AXIAL_T2, axial_planes(right_to_left, on_their_side), spots)
    chosen = choose_slice([axial], CANAL[level], OPTIONS)
    assert chosen is not None
    found = find_canals({level: chosen}, {level: CANAL[level]}, SidedCoded(), OPTIONS)[level]
    for side, sign in ((Side.LEFT, 1), (Side.RIGHT, -1)):
        offset = found.recesses[side].position_mm - (CANAL[level] + [sign * SPAN / 2, 0, 0])
        assert np.linalg.norm(offset[:2]) < 1.5
    assert found.span_mm == pytest.approx(SPAN, abs=1.5)


@pytest.mark.parametrize("right_to_left", [True, False])
@pytest.mark.parametrize("up", [1, -1], ids=["back above", "back below"])
def test_recesses_of_a_steep_block_keep_the_patients_side(right_to_left: bool, up: int) -> None:
    """A block angled 47 degrees: image left is patient right, and the back lies below."""
    sign, tilt = 1 if right_to_left else -1, np.radians(47)
    down = np.array([0.0, np.cos(tilt), up * np.sin(tilt)])
    normal = np.cross([sign, 0.0, 0.0], down)
    level = Level.L5_S1
    middle = CANAL[level] - 90 * down - [90.0 * sign, 0, 0]
    planes = [
        Plane(
            tuple(middle + 4 * n * normal),
            *((sign, 0, 0), tuple(down), 0.6, 0.6, 300, 300),
            seen_as=Orientation.AXIAL,
        )
        for n in range(-5, 6)
    ]
    assert {one.flips for one in planes} == {(sign < 0, False)}
    spots = [
        (CANAL[level] + [SPAN / 2, 0, 0], axial_code(AxialPoint.LEFT_RECESS)),
        (CANAL[level] - [SPAN / 2, 0, 0], axial_code(AxialPoint.RIGHT_RECESS)),
    ]
    chosen = choose_slice([volume(Role.AXIAL_T2, planes, spots)], CANAL[level], OPTIONS)
    assert chosen is not None
    found = find_canals({level: chosen}, {level: CANAL[level]}, SidedCoded(), OPTIONS)[level]
    for side, side_sign in ((Side.LEFT, 1), (Side.RIGHT, -1)):
        offset = found.recesses[side].position_mm - (CANAL[level] + [side_sign * SPAN / 2, 0, 0])
        assert np.linalg.norm(offset) < 2


def axial_code(point: AxialPoint) -> float:
    return 100.0 * (1 + AXIAL_POINTS.index(point))


class SidedCoded(Coded):
    """As a trained network: in a mirrored crop it calls the other side left."""

    def run(self, network: str, crops: Tensor) -> Tensor:
        straight, mirrored = super().run(network, crops).chunk(2)
        return torch.cat([straight, mirrored[:, [0, 2, 1]]])


def test_the_slice_of_a_level_is_the_nearest_plane_or_none() -> None:
    """The nearest plane within 5 mm over all stacks is taken, and nothing beyond."""
    axial = volume(Role.AXIAL_T2, axial_planes(), [])
    position = np.array([3.0, 20.0, 11.0])
    chosen = choose_slice([axial], position, OPTIONS)
    assert chosen is not None
    assert abs(chosen[0].planes[chosen[1]].distance_mm(position)) <= 2
    assert choose_slice([axial], np.array([3.0, 20.0, 90.0]), OPTIONS) is None
    assert choose_slice([axial], np.array([300.0, 20.0, 11.0]), OPTIONS) is None
    assert choose_slice([], position, OPTIONS) is None


def test_recesses_are_judged_a_little_below_the_disc() -> None:
    """Each height lies 2 mm along the canal towards the next level, never beyond it."""
    heights = recess_heights(CANAL, OPTIONS)
    for level, where in heights.items():
        assert np.linalg.norm(where - CANAL[level]) == pytest.approx(2.0)
        assert where[2] < CANAL[level][2]
    assert recess_heights({}, OPTIONS) == {}
    alone = recess_heights({Level.L4_L5: CANAL[Level.L4_L5]}, OPTIONS)
    np.testing.assert_array_equal(alone[Level.L4_L5], CANAL[Level.L4_L5])


@pytest.mark.parametrize("moved", [[0, 0, 0], [16, 0, 0]], ids=["nothing there", "far away"])
def test_a_canal_that_is_not_there_is_not_found(moved: list[float]) -> None:
    """An empty slice, or recesses far from where T2 puts the canal, give no axial level."""
    level = Level.L4_L5
    axial_code = {name: 100.0 * (1 + n) for n, name in enumerate(AXIAL_POINTS)}
    spots = [
        (CANAL[level] + moved + [SPAN / 2, 0, 0], axial_code[AxialPoint.LEFT_RECESS]),
        (CANAL[level] + moved - [SPAN / 2, 0, 0], axial_code[AxialPoint.RIGHT_RECESS]),
    ]
    axial = volume(Role.AXIAL_T2, axial_planes(), spots if any(moved) else [])
    chosen = choose_slice([axial], CANAL[level], OPTIONS)
    assert chosen is not None
    assert find_canals({level: chosen}, {level: CANAL[level]}, SidedCoded(), OPTIONS) == {}


def test_one_side_alone_shows_no_midline() -> None:
    """A T1 stack of the right half, without T2, gives no foramina rather than wrong sides."""
    spots = [(where, code(Structure.FORAMEN, level)) for (level, _), where in FORAMEN.items()]
    right_half = [p for p in sagittal_planes(True, False) if p.position_mm[0] < 8]
    view = sagittal_view(volume(Role.SAGITTAL_T1, right_half, spots), Coded())
    assert find_foramina(view, Coded(), {}, OPTIONS) == {}


def test_the_better_ranked_axial_series_is_preferred() -> None:
    """A second series must pass 2 mm closer: contrasts do not alternate between levels."""
    position = np.array([3.0, 20.0, 11.0])
    first = volume(Role.AXIAL_T2, axial_planes(), [])
    shifted = [replace(p, position_mm=(-90.0, -70.0, p.position_mm[2] + 1)) for p in axial_planes()]
    other = volume(Role.AXIAL_T2, shifted, [])
    other = replace(
        other,
        slices=tuple(replace(s, image=ImageReference("other", "2.1")) for s in other.slices),
    )
    assert abs(first.nearest_slice(position)[1]) > abs(other.nearest_slice(position)[1])
    chosen = choose_slice([first, other], position, OPTIONS)
    assert chosen is not None
    assert chosen[0] is first
