"""From objects to a study, in any order, with what is unusable counted."""

import math
import random

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage

from worker.domain.geometry import Orientation
from worker.domain.study import Instance, RepairKind, Role, Unreadable
from worker.errors import BrokenStudy, NotLumbar
from worker.intake.headers import read_study
from worker.intake.routing import route


def item(**attributes):
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def nested(keyword, **attributes):
    return {keyword: Sequence([item(**attributes)])}


@pytest.fixture
def enhanced(make_slice):
    """An enhanced MR object of three sagittal frames, the second without a position."""
    shared = item(
        **nested("PlaneOrientationSequence", ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
        **nested("PixelMeasuresSequence", PixelSpacing=[0.5, 0.7]),
        **nested("MREchoSequence", EffectiveEchoTime=102.0),
        **nested(
            "MRTimingAndRelatedParametersSequence",
            RepetitionTime=3200.0,
            FlipAngle=150.0,
            EchoTrainLength=17,
        ),
        **nested("MRModifierSequence", InversionRecovery="YES", InversionTimes=[160.0]),
    )
    frames = [
        item(**nested("PlanePositionSequence", ImagePositionPatient=[x, 0.0, 0.0]))
        if x is not None
        else item()
        for x in (1.0, None, 9.0)
    ]
    header = make_slice(
        SOPClassUID=EnhancedMRImageStorage,
        NumberOfFrames=3,
        EchoPulseSequence="SPIN",
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence(frames),
    )
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(header, keyword)
    return Instance("enhanced", header)


def test_order_of_files_changes_nothing(make_series):
    """The study is the same whatever order its files are listed in."""
    instances = make_series("sagittal", "1.2.3.1") + make_series("axial", "1.2.3.2")
    study = read_study(instances)
    for seed in range(5):
        assert read_study(random.Random(seed).sample(instances, len(instances))) == study


def test_frames_of_an_enhanced_image_are_slices(enhanced):
    """Each frame with a plane is a slice with its own number; physics come from the groups."""
    (series,) = read_study([enhanced]).series
    assert [header.image.frame for header in series.slices] == [1, 3]
    plane = series.slices[1].plane
    assert plane.position_mm == (9.0, 0.0, 0.0)
    assert (plane.row_spacing_mm, plane.column_spacing_mm) == (0.5, 0.7)
    assert plane.orientation is Orientation.SAGITTAL
    found = series.acquisition
    assert (found.echo_time_ms, found.repetition_time_ms) == (102, 3200)
    assert (found.inversion_time_ms, found.flip_angle_deg) == (160, 150)
    assert found.scanning_sequence == ("SE", "IR")


@pytest.mark.parametrize(
    "changes",
    [
        {"ImagePositionPatient": None},
        {"ImageOrientationPatient": [1, 0, 0, 0.5, 0.8, 0]},
        {"ImageOrientationPatient": [1, 0, 0]},
        {"PixelSpacing": [0, 1]},
        {"PixelSpacing": [1e-12, 1]},
        {"PixelSpacing": [1, 60]},
        {"ImagePositionPatient": [0, 0, 1e308]},
        {"ImagePositionPatient": [-10001, 0, 0]},
        {"Rows": None},
        {"NumberOfFrames": 3},
    ],
)
def test_objects_without_a_sound_plane_are_counted(make_series, changes):
    """What is missing, sheared, empty, unplaced or out of all bounds is counted, never guessed."""
    bad = make_series("sagittal", "1.2.3.1", 2, **changes)
    good = make_series("sagittal", "1.2.3.1", 6)[2:]
    (series,) = read_study(bad + good).series
    assert (series.unplaced, len(series.slices)) == (2, 4)


@pytest.fixture
def angled(make_series):
    """One series of blocks of axial slices, each turned by so many degrees about patient x."""

    def make(*tilts, count=4):
        instances = make_series("axial", "1.2.3.1", count * len(tilts), SeriesDescription="T2")
        for k, instance in enumerate(instances):
            tilt = math.radians(tilts[k // count])
            down = [0.0, math.cos(tilt), -math.sin(tilt)]
            instance.header.ImageOrientationPatient = [1.0, 0.0, 0.0, *down]
        return instances

    return make


@pytest.mark.parametrize("tilts", [(0, 5, -5, -20, -47), (0, 5, 10, 20, 47), (-10, -50)])
def test_a_steep_block_is_of_the_plane_of_its_series(angled, tilts):
    """However steep, its slices are axial with the others, and shown the same way round."""
    (series,) = read_study(angled(*tilts)[:-1]).series
    assert {header.plane.orientation for header in series.slices} == {Orientation.AXIAL}
    assert {(h.plane.flips, h.plane.turned) for h in series.slices} == {((False, False), False)}
    ((role, _),) = route(read_study(angled(*tilts)[:-1])).roles.items()
    assert role is Role.AXIAL_T2


@pytest.mark.parametrize("tilts", [(0, 90), (0, 0, 0, 75), (20, -47)])
def test_planes_far_apart_are_a_localiser(angled, make_series, tilts):
    """More than 60 degrees between two slices: no block of one series."""
    beside = make_series("sagittal", "1.2.3.2", SeriesDescription="T2")
    decision = route(read_study(angled(*tilts) + beside)).decisions[0]
    assert "localiser" in decision.reason


def test_as_many_coronal_slices_as_axial_ones_are_not_taken_for_axial(angled, make_series):
    """Where the slices do not say which plane they are of, nothing is graded on them."""
    beside = make_series("sagittal", "1.2.3.2", SeriesDescription="T2")
    decision = route(read_study(angled(20, 60) + beside)).decisions[0]
    assert (decision.role, decision.reason) == (None, "coronal slices are not used")


def test_an_object_met_twice_counts_once(make_series):
    """The same series and SOP Instance UID in two files is one slice, and is recorded."""
    instances = make_series("sagittal", "1.2.3.1", 5)
    again = [Instance("copy", instances[2].header)]
    study = read_study(again + instances)
    assert len(study.series[0].slices) == 5
    assert [r.instances for r in study.repairs if r.kind is RepairKind.DUPLICATE] == [1]


def test_unreadable_and_nameless_objects_are_recorded(make_series, make_slice):
    """Corrupt files and objects without UIDs are left out and counted."""
    nameless = Instance("n", make_slice(SOPInstanceUID=None))
    study = read_study([*make_series("axial", "1.2.3.2", 5), Unreadable("x", "EOFError"), nameless])
    assert [r.instances for r in study.repairs if r.kind is RepairKind.UNREADABLE] == [2]


def test_several_studies_are_refused_by_number(make_series):
    """Two Study Instance UIDs in one folder: the message counts them and says what to do."""
    instances = [
        *make_series("axial", "1.2.3.2", 5, PatientName="Secret"),
        *make_series("axial", "1.2.4.2", 5, StudyInstanceUID="1.2.4"),
    ]
    with pytest.raises(BrokenStudy, match=r"2 studies; grade one study at a time") as error:
        read_study(instances)
    assert "Secret" not in str(error.value)


def test_nothing_and_nothing_readable_differ():
    """An empty folder holds no lumbar MRI; one of corrupt files is broken."""
    with pytest.raises(NotLumbar):
        read_study([])
    with pytest.raises(BrokenStudy):
        read_study([Unreadable("x", "EOFError")])


def test_malformed_values_count_as_absent(make_series):
    """Numbers that are none, several or infinite are absent, not an exception."""
    header = make_series("sagittal", "1.2.3.1", 1)[0].header
    header.EchoTime = None
    header.add_new("RepetitionTime", "DS", ["500", "600"])
    header.add_new("InversionTime", "DS", "inf")
    (series,) = read_study([Instance("k", header)]).series
    found = series.acquisition
    assert (found.echo_time_ms, found.repetition_time_ms) == (None, 500)
    assert found.inversion_time_ms is None


def test_a_uid_that_may_be_a_name_is_not_printed(make_slice):
    """Messages repeat what looks like a UID and nothing else."""
    uids = ("1.2.3", "Muller^Jorg", "19600102")
    found = [Instance(uid, make_slice(StudyInstanceUID=uid)) for uid in uids]
    with pytest.raises(BrokenStudy) as error:
        read_study(found)
    assert "1.2.3, (invalid UID)" in str(error.value) or "(invalid UID), 1.2.3" in str(error.value)
    assert not any(uid in str(error.value) for uid in uids[1:])
