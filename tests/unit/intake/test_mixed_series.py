"""A series that mixes several images of one place is read as one of them."""

import random

import pytest
from pydicom import Dataset
from pydicom.uid import EnhancedMRImageStorage

from worker.domain.study import Instance, RepairKind, Role
from worker.intake.headers import read_study
from worker.intake.routing import route

PHILIPS = {part: ["DERIVED", "PRIMARY", part, part, "DERIVED"] for part in ("W", "F", "IP", "OP")}
SIEMENS = {p: ["ORIGINAL", "PRIMARY", "M", p, "DIS2D"] for p in ("W", "F", "IN", "OPP")}
XA = {
    part: ["DERIVED", "PRIMARY", "DIXON", part]
    for part in ("WATER", "FAT", "IN_PHASE", "OUT_OF_PHASE")
}
GE = {part: ["DERIVED", "PRIMARY", "DIXON", part] for part in ("WATER", "FAT")}
UNNAMED = {"": ["ORIGINAL", "PRIMARY", "M_SE", "M", "SE"], "W": ["ORIGINAL", "PRIMARY", "W"]}

SLICES = 6


def item(**attributes):
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.fixture
def mixed(make_slice):
    """One series that holds every part at every place; a part is a name and its attributes.

    The SOP Instance UIDs of the parts take turns, in the order of the parts.
    """

    def make(parts, plane="sagittal", **common):
        return [
            Instance(
                f"{name}/{k}",
                make_slice(
                    plane, k, SOPInstanceUID=f"1.2.3.1.{10 + k}.{n}", **(common | attributes)
                ),
            )
            for k in range(SLICES)
            for n, (name, attributes) in enumerate(parts.items(), start=1)
        ]

    return make


@pytest.fixture
def in_one_object(mixed):
    """The same as frames of one Enhanced MR object; what tells the parts lies in their groups."""

    def make(parts, **common):
        images = mixed(parts, **common)
        top = Dataset()
        top.update(images[0].header)
        top.SOPClassUID = EnhancedMRImageStorage
        top.NumberOfFrames = len(images)
        top.EchoPulseSequence = "SPIN"
        top.PerFrameFunctionalGroupsSequence = [frame(one.header) for one in images]
        top.SharedFunctionalGroupsSequence = [
            item(
                PlaneOrientationSequence=[
                    item(ImageOrientationPatient=top.ImageOrientationPatient)
                ],
                PixelMeasuresSequence=[item(PixelSpacing=top.PixelSpacing)],
                MRTimingAndRelatedParametersSequence=[item(RepetitionTime=3000.0)],
            )
        ]
        top.ImageType = ["DERIVED", "PRIMARY", "MIXED", "MIXED"]
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            delattr(top, keyword)
        if "EchoTime" in top:
            del top.EchoTime
        return [Instance("enhanced", top)], [one.key.split("/")[0] for one in images]

    def frame(header):
        groups = item(
            PlanePositionSequence=[item(ImagePositionPatient=header.ImagePositionPatient)]
        )
        if "ImageType" in header:
            groups.MRImageFrameTypeSequence = [item(FrameType=header.ImageType)]
        if "EchoTime" in header:
            groups.MREchoSequence = [item(EffectiveEchoTime=float(header.EchoTime))]
        return groups

    return make


def of_kinds(kinds):
    return {name: {"ImageType": image_type} for name, image_type in kinds.items()}


def of_echoes(*times):
    return {f"{te}": {"EchoTime": te} for te in times}


def read(instances):
    """The one series, the parts that its slices come from, and the repairs of parts."""
    study = read_study(instances)
    (series,) = study.series
    used = {header.key.split("/")[0] for header in series.slices}
    return series, used, [r for r in study.repairs if r.kind is RepairKind.PART]


def reversed_parts(parts):
    return dict(reversed(parts.items()))


@pytest.mark.parametrize("kinds", [PHILIPS, SIEMENS, XA, GE, UNNAMED], ids=str)
@pytest.mark.parametrize("turned", [dict, reversed_parts])
def test_of_a_dixon_set_the_water_is_used(mixed, kinds, turned):
    """Fat, in-phase, opposed and unnamed images beside water are left out, and recorded."""
    instances = mixed(turned(of_kinds(kinds)), SeriesDescription="T2 sag")
    series, used, (repair,) = read(instances)
    assert used <= {"W", "WATER"}
    assert len(series.slices) == SLICES
    assert set(series.acquisition.image_type) & {"W", "WATER"}
    assert repair.instances == SLICES * (len(kinds) - 1)
    assert "Dixon" in repair.detail
    assert route(read_study(instances)).decisions[0].role is Role.SAGITTAL_T2


def test_fat_beside_an_unnamed_image_is_left_out(mixed):
    """What no rule speaks against stays, though no image is called water."""
    kinds = {"plain": ["ORIGINAL", "PRIMARY", "M"], "fat": SIEMENS["F"], "phase": PHILIPS["OP"]}
    assert read(mixed(of_kinds(kinds)))[1] == {"plain"}


def test_parts_that_are_all_unusable_stay_unused(mixed):
    """A series of fat and phases alone is left whole, and gets no role."""
    kinds = {name: PHILIPS[name] for name in ("F", "IP", "OP")}
    instances = mixed(of_kinds(kinds), SeriesDescription="T2 sag")
    series, _, repairs = read(instances)
    assert (len(series.slices), repairs) == (3 * SLICES, [])
    plain = [Instance(i.key, i.header) for i in mixed({"": {}}, SeriesDescription="T2")]
    for instance in plain:
        instance.header.SeriesInstanceUID = "1.2.3.2"
    decision = route(read_study([*instances, *plain])).decisions[0]
    assert decision.role is None
    assert "Dixon" in decision.reason


@pytest.mark.parametrize("plane", ["sagittal", "axial"])
@pytest.mark.parametrize(
    ("times", "more", "expected"),
    [
        ((20, 100), {"RepetitionTime": 3000}, 100),
        ((100, 20), {"RepetitionTime": 3000}, 100),
        ((15, 45, 90), {"RepetitionTime": 3000}, 90),
        ((80, 700), {"RepetitionTime": 3000}, 80),  # the other shows fluid alone
        ((20, 100), {"SeriesDescription": "PD T2"}, 100),
        ((10, 25), {"RepetitionTime": 600}, 10),
    ],
)
def test_of_several_echoes_one_is_used(mixed, plane, times, more, expected):
    """The longest that is T2-weighted; the shortest where none is. The others are recorded."""
    series, used, (repair,) = read(mixed(of_echoes(*times), plane, **more))
    assert used == {f"{expected}"}
    assert (series.acquisition.echo_time_ms, len(series.slices)) == (expected, SLICES)
    assert repair.instances == SLICES * (len(times) - 1)
    assert f"used: TE {expected} ms" in repair.detail


def test_one_slice_repeated_with_another_echo_costs_itself_alone(mixed):
    """The echo with most slices is the series, however long the odd one is."""
    odd = mixed(of_echoes(120), RepetitionTime=3000)[2]
    odd.header.SOPInstanceUID = "1.2.3.1.1"
    series, used, (repair,) = read([odd, *mixed(of_echoes(100), RepetitionTime=3000)])
    assert (used, len(series.slices), repair.instances) == ({"100"}, SLICES, 1)


def test_slice_groups_with_echo_times_of_their_own_stay_together(make_series):
    """Blocks of one axial series may differ in TE: no place is met twice, nothing is left out."""
    instances = make_series("axial", "1.2.3.1", 12, SeriesDescription="T2")
    for k, instance in enumerate(instances):
        instance.header.EchoTime = 98 + k // 4
    series, _, repairs = read(instances)
    assert (len(series.slices), repairs) == (12, [])


def test_blocks_that_cross_stay_whole(make_series):
    """Two blocks of one origin and different angles and TE show different places."""
    instances = make_series("axial", "1.2.3.1", 12, SeriesDescription="T2")
    for k, instance in enumerate(instances):
        if k < 6:
            instance.header.ImageOrientationPatient = [1, 0, 0, 0, 0.984808, -0.173648]
            instance.header.ImagePositionPatient = instances[11 - k].header.ImagePositionPatient
        instance.header.EchoTime = 98 + k // 6
    series, _, repairs = read(instances)
    assert (len(series.slices), repairs) == (12, [])


def test_a_block_that_shares_one_place_loses_that_alone(make_series):
    """Of two overlapping T2 blocks of slightly different TE one slice is shown twice."""
    instances = make_series("axial", "1.2.3.1", 12, RepetitionTime=3000)
    instances[6].header.ImagePositionPatient = instances[5].header.ImagePositionPatient
    for k, instance in enumerate(instances):
        instance.header.EchoTime = 98 + k // 6
    series, _, (repair,) = read(instances)
    assert (len(series.slices), repair.instances) == (11, 1)


def test_where_the_better_echo_misses_a_slice_there_is_none(mixed):
    """A proton density slice never fills the gap of a T2 stack."""
    images = mixed(of_echoes(20, 100), RepetitionTime=3000)
    series, used, (repair,) = read(images[:-1])
    assert (used, len(series.slices)) == ({"100"}, SLICES - 1)
    assert repair.instances == SLICES


@pytest.mark.parametrize(
    ("parts", "expected"),
    [(of_kinds(XA), "WATER"), (of_kinds(reversed_parts(XA)), "WATER"), (of_echoes(20, 100), "100")],
)
def test_frames_of_an_enhanced_image_are_told_apart(in_one_object, parts, expected):
    """Frame type and effective echo time of each frame decide, whatever the object says."""
    instances, names = in_one_object(parts, SeriesDescription="T2 sag")
    series, _, (repair,) = read(instances)
    assert {names[header.image.frame - 1] for header in series.slices} == {expected}
    assert (len(series.slices), repair.instances) == (SLICES, len(names) - SLICES)
    assert route(read_study(instances)).decisions[0].role is Role.SAGITTAL_T2


def test_the_order_of_files_changes_nothing(mixed):
    """Twenty shuffles of a Dixon set of two echoes give one study."""
    parts = {
        f"{name}{te}": {"ImageType": kind, "EchoTime": te}
        for name, kind in PHILIPS.items()
        for te in (20, 100)
    }
    instances = mixed(parts, RepetitionTime=3000)
    expected = read_study(instances)
    assert read(instances)[1] == {"W100"}
    for seed in range(20):
        assert read_study(random.Random(seed).sample(instances, len(instances))) == expected
