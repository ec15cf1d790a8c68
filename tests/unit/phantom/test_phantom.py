"""Phantoms: determinism, geometry, mirror images, local lesions."""

import itertools

import numpy as np
import pytest

from dicom_sr.findings import TARGETS, Condition, Level, Severity, Side, Target
from worker.domain.geometry import Orientation
from worker.domain.study import Role
from worker.phantom import SMALL, TRAINING, SliceCounts, make_phantom
from worker.phantom.lesions import CLINICAL, draw_severities, other_side

pytestmark = pytest.mark.slow


TINY = SliceCounts(7, 5, 10)
CANAL = Target(Condition.SPINAL_CANAL_STENOSIS, Level.L2_L3)
RECESS = Target(Condition.SUBARTICULAR_STENOSIS, Level.L4_L5, Side.LEFT)
FORAMEN = Target(Condition.NEURAL_FORAMINAL_NARROWING, Level.L4_L5, Side.RIGHT)


@pytest.fixture(scope="module")
def healthy():
    return make_phantom(4, {}, slices=TINY)


def test_a_seed_gives_the_same_study_and_another_seed_another(healthy):
    """Same arguments, same pixels and UIDs; another seed changes anatomy and identity."""
    again, other = make_phantom(4, {}, slices=TINY), make_phantom(5, {}, slices=TINY)
    assert again.study_instance_uid == healthy.study_instance_uid != other.study_instance_uid
    for one, two in zip(healthy.series, again.series, strict=True):
        assert one.planes == two.planes
        np.testing.assert_array_equal(one.pixels, two.pixels)
    assert other.points[CANAL].patient_mm != healthy.points[CANAL].patient_mm


@pytest.fixture(scope="module", params=range(4))
def anyone(request):
    return make_phantom(request.param, {}, slices=SMALL)


def test_truth_points_lie_on_their_slices(anyone):
    """Every point lies inside the image it names, and its pixel is its patient position."""
    for target in TARGETS:
        truth = anyone.points[target]
        series = next(
            s
            for s in anyone.series
            if s.series_instance_uid == truth.image_point.image.series_instance_uid
        )
        plane = series.planes[truth.index]
        assert series.image(truth.index) == truth.image_point.image
        assert plane.contains(truth.image_point.column, truth.image_point.row)
        position = plane.to_mm(truth.image_point.column, truth.image_point.row)
        np.testing.assert_allclose(position, truth.patient_mm, atol=1e-9)


def test_anatomy_stands_as_in_a_patient(anyone):
    """Left has the larger x, levels go down in order, and the foramina are where they are."""
    points = anyone.points
    for level in Level:
        canal = points[Target(Condition.SPINAL_CANAL_STENOSIS, level)].patient_mm
        for condition, near, far in (
            (Condition.NEURAL_FORAMINAL_NARROWING, 9, 26),
            (Condition.SUBARTICULAR_STENOSIS, 3, 14),
        ):
            left = points[Target(condition, level, Side.LEFT)].patient_mm
            right = points[Target(condition, level, Side.RIGHT)].patient_mm
            assert near < left[0] - canal[0] < far
            assert near < canal[0] - right[0] < far
    heights = [points[Target(Condition.SPINAL_CANAL_STENOSIS, v)].patient_mm[2] for v in Level]
    assert all(15 < a - b < 50 for a, b in itertools.pairwise(heights))


def test_series_are_what_they_say(healthy):
    """Two sagittal series and one axial series of at least two orientations."""
    assert [s.role for s in healthy.series] == list(Role)
    for series in healthy.series:
        wanted = Orientation.AXIAL if series.role is Role.AXIAL_T2 else Orientation.SAGITTAL
        assert {plane.orientation for plane in series.planes} == {wanted}
    assert len({p.along_rows for p in healthy.of(Role.AXIAL_T2).planes}) >= 2


def test_the_mirror_image_is_exact():
    """The mirrored study holds the same pixels at -x, and its truth has changed sides."""
    lesions = {RECESS: Severity.SEVERE, FORAMEN: Severity.MODERATE}
    plain = make_phantom(6, lesions, slices=TINY)
    mirror = make_phantom(6, lesions, slices=TINY, mirrored=True)
    for target in TARGETS:
        assert mirror.severities[target] is plain.severities[other_side(target)]
        there = np.array(plain.points[other_side(target)].patient_mm) * (-1, 1, 1)
        np.testing.assert_allclose(mirror.points[target].patient_mm, there, atol=0.02)
    assert plain.study_instance_uid != mirror.study_instance_uid
    random = np.random.default_rng(0)
    for one, two in zip(plain.series, mirror.series, strict=True):
        for i in range(len(one.pixels)):
            plane = one.planes[i]
            column, row = random.integers(plane.columns), random.integers(plane.rows)
            reflected = plane.to_mm(column, row) * (-1, 1, 1)
            j = int(np.argmin([abs(p.distance_mm(reflected)) for p in two.planes]))
            if one.role is Role.AXIAL_T2:
                j = i  # groups of one series may cross
            at = two.planes[j].to_px(reflected)
            np.testing.assert_allclose(at, np.rint(at), atol=2e-3)
            assert abs(two.planes[j].distance_mm(reflected)) < 2e-3
            there = two.pixels[j, round(at[1]), round(at[0])]
            assert there == one.pixels[i, row, column]


@pytest.mark.parametrize("target", [CANAL, RECESS, FORAMEN], ids=str)
def test_a_lesion_changes_only_its_level_and_shows(target, healthy):
    """Pixels differ near the lesion, on its side, and nowhere else."""
    ill = make_phantom(4, {target: Severity.SEVERE}, slices=TINY)
    centre = np.array(ill.points[target].patient_mm)
    changed = 0
    for one, two in zip(healthy.series, ill.series, strict=True):
        for plane, before, after in zip(one.planes, one.pixels, two.pixels, strict=True):
            for row, column in np.argwhere(before != after):
                position = plane.to_mm(column, row)
                assert abs(position[2] - centre[2]) < 45
                if target.side is Side.LEFT:
                    assert position[0] > centre[0] - 16
                if target.side is Side.RIGHT:
                    assert position[0] < centre[0] + 16
                changed += 1
    assert changed > 50


def test_prevalence_is_honoured():
    """Drawn severities come near the asked shares, and the rich setting is richer."""
    canal = [t for t in TARGETS if t.condition is Condition.SPINAL_CANAL_STENOSIS]
    shares = {
        name: np.mean(
            [draw_severities(i, p)[t] is Severity.SEVERE for i in range(300) for t in canal]
        )
        for name, p in (("clinical", CLINICAL), ("training", TRAINING))
    }
    assert shares["clinical"] == pytest.approx(0.048, abs=0.02)
    assert shares["training"] == pytest.approx(0.28, abs=0.06)
