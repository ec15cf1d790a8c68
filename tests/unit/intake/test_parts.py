"""Series as they are stored: stacks under one UID, odd pictures, passes, blocks, one position."""

import pytest

from dicom_sr.findings import NotAssessedReason
from worker.domain.study import RepairKind, Role
from worker.intake.headers import read_study
from worker.intake.routing import route

T1 = {"EchoTime": 10, "RepetitionTime": 550, "SeriesDescription": ""}
T2 = {"EchoTime": 100, "RepetitionTime": 3500, "SeriesDescription": ""}
FIRST = {"AcquisitionNumber": 1, "AcquisitionDate": "20240101", "AcquisitionTime": "100000"}
SECOND = {"AcquisitionNumber": 2, "AcquisitionDate": "20240101", "AcquisitionTime": "101500"}


def under_one_uid(*series):
    """All instances under the first one's Series Instance UID."""
    uid = series[0][0].header.SeriesInstanceUID
    found = [instance for one in series for instance in one]
    for number, instance in enumerate(found):
        instance.header.SeriesInstanceUID = uid
        instance.header.SOPInstanceUID = f"{uid}.{number + 1}"
    return found


def roles(study):
    """How many slices each role has."""
    routed = route(study)
    return {role: [len(s.slices) for s in series] for role, series in routed.roles.items()}


def test_t1_and_t2_under_one_uid_are_two_parts(make_series):
    """Each weighting gets its role, whatever the order of the images."""
    t1 = make_series("sagittal", "1.2.3.1", 13, **T1)
    t2 = make_series("sagittal", "1.2.3.2", 15, **T2)
    study = read_study(under_one_uid(t2, t1))
    assert roles(study) == {Role.SAGITTAL_T1: [13], Role.SAGITTAL_T2: [15]}
    assert [one.part for one in study.series] == [1, 2]
    assert all(d.reason.startswith("part ") for d in route(study).decisions)


def test_images_of_unknown_weighting_are_a_part_too(make_series):
    """They get no role, and a reason: no image is lost without a record."""
    t1 = make_series("sagittal", "1.2.3.1", 13, **T1)
    t2 = make_series("sagittal", "1.2.3.2", 15, **T2)
    unknown = make_series("sagittal", "1.2.3.3", 4, EchoTime=45, SeriesDescription="")
    study = read_study(under_one_uid(t2, t1, unknown))
    assert sum(len(one.slices) for one in study.series) == 32
    assert len(route(study).decisions) == 3


def test_sagittal_and_axial_under_one_uid_are_two_parts(make_series):
    """Whole stacks of two planes are no localiser."""
    sagittal = make_series("sagittal", "1.2.3.1", 15, **T2)
    axial = make_series("axial", "1.2.3.2", 30, **T2)
    study = read_study(under_one_uid(axial, sagittal))
    assert roles(study) == {Role.SAGITTAL_T2: [15], Role.AXIAL_T2: [30]}


@pytest.mark.parametrize("odd", [1, 3])
def test_a_planning_picture_is_left_out_and_recorded(make_series, odd):
    """The series keeps its role, and says how many pictures it lost."""
    axial = make_series("axial", "1.2.3.1", 25, **T2)
    scout = make_series("sagittal", "1.2.3.2", odd, **T2)
    study = read_study(under_one_uid(axial, scout))
    assert roles(study) == {Role.AXIAL_T2: [25]}
    (repair,) = (r for r in study.repairs if r.kind is RepairKind.PART)
    assert (repair.instances, repair.detail) == (odd, "in another plane than its series")


@pytest.mark.parametrize("slices", [3, 5, 7])
def test_a_localiser_is_not_split(make_series, slices):
    """Three planes with a few slices each have no role."""
    names = ("axial", "sagittal", "coronal")
    planes = [make_series(p, f"1.2.3.{n}", slices, **T2) for n, p in enumerate(names)]
    study = read_study([*under_one_uid(*planes), *make_series("sagittal", "1.2.9", 15, **T2)])
    assert roles(study) == {Role.SAGITTAL_T2: [15]}


def passes(make_series, first, second):
    """Two passes of one axial scan under one UID, told apart by their acquisition."""
    one = make_series("axial", "1.2.3.1", first, **T2, **FIRST)
    other = make_series("axial", "1.2.3.2", second, **T2, **SECOND)
    return read_study(under_one_uid(one, other)), {i.header.SOPInstanceUID for i in other}


@pytest.mark.parametrize(
    ("keyword", "value", "named"),
    [
        ("ImageOrientationPatient", [0] * 6, "Image Orientation (Patient)"),
        ("ImagePositionPatient", None, "Image Position (Patient)"),
    ],
)
def test_an_image_without_a_plane_is_left_out_and_recorded(make_series, keyword, value, named):
    """One image of a series has no place; the others keep their role."""
    images = make_series("sagittal", "1.2.3.1", 15, **T2)
    setattr(images[4].header, keyword, value)
    study = read_study(images)
    assert roles(study) == {Role.SAGITTAL_T2: [14]}
    (repair,) = (r for r in study.repairs if r.kind is RepairKind.PART)
    assert (repair.instances, repair.detail) == (1, f"{named} missing or invalid")


def test_of_two_passes_the_later_is_used(make_series):
    """No slice of the earlier one is mixed in."""
    study, later = passes(make_series, 20, 20)
    (series,) = study.series
    assert {header.image.sop_instance_uid for header in series.slices} == later


def test_an_incomplete_later_pass_is_left_out(make_series):
    """A scan that was stopped does not replace a complete one."""
    study, later = passes(make_series, 20, 8)
    (series,) = study.series
    assert len(series.slices) == 20
    assert not {header.image.sop_instance_uid for header in series.slices} & later


@pytest.mark.parametrize(("second", "used"), [(20, "1.2.3.2"), (8, "1.2.3.1")])
def test_a_repeated_axial_series_replaces_the_first(make_series, second, used):
    """The later acquisition, unless it is incomplete; the other has no role and a reason."""
    one = make_series("axial", "1.2.3.1", 20, **T2, **FIRST)
    other = make_series("axial", "1.2.3.2", second, **T2, **SECOND)
    routed = route(read_study([*one, *other, *make_series("sagittal", "1.2.3.3", **T2)]))
    assert [s.series_instance_uid for s in routed.roles[Role.AXIAL_T2]] == [used]
    (left,) = routed.rejected
    assert "another pass of this scan is used" in left.reason


def test_short_blocks_count_together(make_series):
    """Three slices at each disc, each block as a series: all are axial T2."""
    blocks = []
    for number in range(5):
        block = make_series("axial", f"1.2.3.{number + 1}", 3, **T2)
        for instance in block:
            x, y, z = instance.header.ImagePositionPatient
            instance.header.ImagePositionPatient = [x, y, z + 30 * number]
        blocks += block
    study = read_study([*blocks, *make_series("sagittal", "1.2.9", **T2)])
    assert roles(study)[Role.AXIAL_T2] == [3] * 5


def test_one_short_block_alone_is_too_few(make_series):
    """Nothing else belongs to it: the role is there but unusable."""
    study = read_study(
        [*make_series("axial", "1.2.3.1", 3, **T2), *make_series("sagittal", "1.2.9", **T2)]
    )
    routed = route(study)
    assert Role.AXIAL_T2 not in routed.roles
    assert routed.absent[Role.AXIAL_T2] is NotAssessedReason.SERIES_UNUSABLE


def test_all_slices_at_one_position_are_named_so(make_series):
    """Sagittal T2 is there: the reason is not that it is missing."""
    stuck = make_series("sagittal", "1.2.3.1", **T2)
    for instance in stuck:
        instance.header.ImagePositionPatient = stuck[0].header.ImagePositionPatient
    routed = route(read_study([*stuck, *make_series("axial", "1.2.3.2", **T2)]))
    (decision,) = routed.rejected
    assert decision.reason == "unusable: all 15 slices at one position"
    assert routed.absent[Role.SAGITTAL_T2] is NotAssessedReason.SERIES_UNUSABLE
