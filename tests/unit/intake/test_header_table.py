"""Role by header: every row of `header_sets`, and the real headers of two vendors."""

import csv
from collections import Counter
from itertools import pairwise

import pytest
from pydicom import Dataset
from pydicom.uid import EnhancedMRImageStorage

from tests.support.header_sets import AXIAL, NONE, ROWS, SAGITTAL
from worker.domain.study import Instance, Role
from worker.intake.headers import read_study
from worker.intake.routing import route

GEOMETRIES = {
    "sagittal": ("sagittal", 6, {}),
    "axial": ("axial", 6, {}),
    "coronal": ("coronal", 6, {}),
    "oblique axial": ("oblique axial", 6, {}),
    "oblique sagittal": ("oblique sagittal", 6, {}),
    "enhanced sagittal": ("sagittal", 6, {}),
    "enhanced axial": ("axial", 6, {}),
    "feet first axial": ("axial", 6, {"PatientPosition": "FFS"}),
    "3 axial slices": ("axial", 3, {}),
    "head": ("sagittal", 36, {}),
    "three planes": ("three planes", 5, {}),
}
"""Name to (plane, slices, further attributes); the header's own attributes come on top."""

SUBJECT = "1.2.3.1"


def enhanced(images):
    """The same images as frames of one Enhanced MR object, physics in functional groups."""
    top = Dataset()
    top.update(images[0].header)
    top.SOPClassUID = EnhancedMRImageStorage
    top.NumberOfFrames = len(images)
    timing, echo, modifier, orientation, measures, shared = (Dataset() for _ in range(6))

    def move(keyword, group, as_keyword, change=lambda value: value):
        if keyword in top:
            setattr(group, as_keyword, change(top[keyword].value))
            delattr(top, keyword)

    move("EchoTime", echo, "EffectiveEchoTime", float)
    move("RepetitionTime", timing, "RepetitionTime")
    move("InversionTime", modifier, "InversionTimes", lambda value: [float(value)])
    names = {"SE": "SPIN", "GR": "GRADIENT"}
    move("ScanningSequence", top, "EchoPulseSequence", lambda value: names[value])
    move("ImageOrientationPatient", orientation, "ImageOrientationPatient")
    move("PixelSpacing", measures, "PixelSpacing")
    del top.ImagePositionPatient
    shared.MRTimingAndRelatedParametersSequence = [timing]
    shared.MREchoSequence, shared.MRModifierSequence = [echo], [modifier]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    top.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for image in images:
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = image.header.ImagePositionPatient
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    top.PerFrameFunctionalGroupsSequence = frames
    return [Instance(images[0].key, top)]


@pytest.fixture(scope="module")
def known():
    """The decisions made so far: a row is routed once for both tests."""
    return {}


@pytest.fixture
def decide(make_series, known):
    """The decision about one row's series, in a study with a sound sagittal and axial T2."""

    def decided(row):
        if id(row) not in known:
            known[id(row)] = routed(*row[1:3])
        return known[id(row)]

    def routed(geometry, header):
        plane, count, more = GEOMETRIES[geometry]
        planes = ("sagittal", "axial", "coronal") if plane == "three planes" else (plane,)
        images = []
        for one in planes:
            found = make_series(one, SUBJECT, count, **(more | header))
            for index, instance in enumerate(found, start=len(images) + 1):
                instance.header.SOPInstanceUID = f"{SUBJECT}.{index}"
            images += found
        if geometry.startswith("enhanced"):
            images = enhanced(images)
        text = {"SeriesDescription": "T2", **more}
        beside = make_series("sagittal", "1.2.3.8", 5, **text) + make_series(
            "axial", "1.2.3.9", 5, **text
        )
        study = route(read_study([*images, *beside]))
        assert len(study.routed) + len(study.rejected) == len(study.study.series) == 3
        (decision,) = (d for d in study.decisions if d.series_instance_uid == SUBJECT)
        return decision

    return decided


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{row[4]}")
def test_every_header_set_gets_its_role(decide, row):
    """The role that the row is owed or, where it is owed none, none and a reason in words."""
    decision = decide(row)
    assert decision.role is row[3], decision.reason
    assert decision.reason
    assert decision.evidence, "a decision without evidence"
    assert all(e.rule and e.says and e.because for e in decision.evidence)


def test_the_table_is_as_wide_as_it_claims(decide):
    """At least 160 sets, 55 axial, 55 without a role, no row twice; the accuracy is printed."""
    assert len(ROWS) >= 160
    assert len(AXIAL) >= 55
    assert len(NONE) >= 55
    rows = [(geometry, sorted(map(str, header.items()))) for _, geometry, header, _, _ in ROWS]
    assert all(one != other for one, other in pairwise(sorted(rows)))
    assert {row[3] for row in AXIAL + SAGITTAL} == set(Role)
    decided = [(row[3], decide(row).role) for row in ROWS]
    right = Counter(owed for owed, role in decided if role is owed)
    wrong = sum(role not in (owed, None) for owed, role in decided)
    print(f"role accuracy {right.total()} of {len(ROWS)} header sets; {wrong} with a wrong role")
    for role, count in Counter(row[3] for row in ROWS).items():
        print(f"  {role or 'no role'}: {right[role]} of {count}")
    assert (right.total(), wrong) == (len(ROWS), 0)


def test_the_real_headers_get_their_role(make_series, real_data):
    """The real sagittal headers of two vendors: every row with its weighting, none wrong."""
    with (real_data / "series_headers" / "spider_headers.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = ("EchoTime", "RepetitionTime", "FlipAngle", "MRAcquisitionType", "SequenceName")
    names += ("SeriesDescription", "BodyPartExamined", "EchoTrainLength", "Manufacturer")
    outcome = Counter()
    for row in rows:
        header = {name: row[name] for name in names if row[name]}
        header["ScanningSequence"] = [v for v in ("SE", "IR") if v in row["ScanningSequence"]]
        truth = Role.SAGITTAL_T1 if row["weighting"] == "t1" else Role.SAGITTAL_T2
        (decision,) = route(read_study(make_series("sagittal", SUBJECT, 5, **header))).decisions
        outcome[decision.role is truth] += 1
        assert decision.role in (truth, None), (row["SeriesDescription"], decision.reason)
    print(f"role accuracy {outcome[True]} of {len(rows)} real header sets")
    assert outcome[True] == len(rows)
