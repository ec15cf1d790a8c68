"""Routing: one table of headers and the role each must get, and the rules for whole studies."""

import random

import pytest

from worker.domain.study import RepairKind, Role
from worker.errors import NotLumbar, NoUsableSeries
from worker.intake.headers import read_study
from worker.intake.routing import route

T1, T2, AX = Role.SAGITTAL_T1, Role.SAGITTAL_T2, Role.AXIAL_T2
T1_PHYSICS = {"EchoTime": 10, "RepetitionTime": 600}
T2_PHYSICS = {"EchoTime": 110, "RepetitionTime": 3500}


def described(text, **more):
    return {"SeriesDescription": text, **more}


TABLE = [
    # Words alone: vendors' codes and languages.
    ("sagittal", described("T1"), T1),
    ("sagittal", described("T2"), T2),
    ("axial", described("T2"), AX),
    ("sagittal", described("t2_tse_sag_384"), T2),
    ("sagittal", described("t1_tse_sag_320"), T1),
    ("axial", described("t2_tse_tra_384"), AX),
    ("axial", described("t2_tse_tra_msma_320"), AX),
    ("sagittal", described("t2_tirm_sag_p2"), T2),
    ("sagittal", described("t2_tse_dixon_sag_320_W"), T2),
    ("sagittal", described("t2_blade_sag"), T2),
    ("sagittal", described("OSag T2 FRFSE"), T2),
    ("axial", described("OAx T2 FSE"), AX),
    ("axial", described("FL08/FL08/OAX FRFSE T2"), AX),
    ("axial", described("WATER: Ax T2 FSE Flex"), AX),
    ("sagittal", described("T2W_TSE_sag"), T2),
    ("sagittal", described("T2WI_SAGc"), T2),
    ("axial", described("T2WI-TRA"), AX),
    ("sagittal", described("07 T2 S5mm#7"), T2),
    ("axial", described("11 T2 TRS"), AX),
    ("sagittal", described("STIR sag"), T2),
    ("sagittal", described("T1 sagittal LWS nativ ohne KM"), T1),
    ("sagittal", described("T2 Sagittale Lendenwirbelsäule"), T2),
    ("axial", described("Ax T2 rachis lombaire"), AX),
    ("sagittal", described("SAG T1 columna lumbar sin contraste"), T1),
    ("sagittal", described("t1w_sag colonna lombare senza mdc"), T1),
    ("sagittal", described("SAG T1 W/O CONTRAST"), T1),
    ("axial", described("", ProtocolName="T2_TSE_tra_LWS"), AX),
    # Physics, with or without words, and against them.
    ("sagittal", T1_PHYSICS, T1),
    ("sagittal", T2_PHYSICS, T2),
    ("axial", T2_PHYSICS, AX),
    ("sagittal", described("T2 sag", **T1_PHYSICS), T1),
    ("sagittal", described("T1 sag", **T2_PHYSICS), T2),
    ("sagittal", {"EchoTime": 60, "RepetitionTime": 4000, "InversionTime": 150}, T2),
    ("sagittal", {"EchoTime": 20, "RepetitionTime": 2200, "InversionTime": 860}, T1),
    ("sagittal", described("Sag T1 FLAIR", EchoTime=24, RepetitionTime=2200), T1),
    ("sagittal", {"EchoTime": 120, "RepetitionTime": 1000, "MRAcquisitionType": "3D"}, T2),
    ("sagittal", described("COR T2", **T2_PHYSICS), T2),
    ("sagittal", described("T2", BodyPartExamined="KNEE"), T2),
    ("sagittal", described("T2", ImageType=["DERIVED", "PRIMARY", "DIXON", "WATER"]), T2),
    # What has no role.
    ("sagittal", described("????"), None),
    ("sagittal", described("T1 T2 sag"), None),
    ("sagittal", described("T1 T2 sag", ProtocolName="t2_tse_sag"), None),
    ("axial", described("Ax T1"), None),
    ("axial", described("ax T12-L1"), None),
    ("axial", described("STIR ax"), None),
    ("coronal", described("T2 cor"), None),
    ("sagittal", described("PD sag"), None),
    ("sagittal", described("T2 sag", EchoTime=30, RepetitionTime=3000), None),
    ("sagittal", described("T1 sag +C"), None),
    ("sagittal", described("T1 TSE sag KM"), None),
    ("sagittal", described("T1 sag FS Gd"), None),
    ("sagittal", described("SAG T1 après injection Gado"), None),
    ("sagittal", described("T1 sag", ContrastBolusAgent="Dotarem", **T1_PHYSICS), None),
    ("sagittal", described("T1 sag fat sat"), None),
    ("sagittal", described("FAT: Sag T2 FSE Flex"), None),
    ("sagittal", described("InPhase: Sag T2 FSE Flex"), None),
    ("sagittal", described("t2_tse_dixon_sag_320_F"), None),
    ("sagittal", described("t2_tse_dixon_sag_320_opp"), None),
    ("axial", described("t2_me2d_tra MEDIC"), None),
    ("axial", described("AX T2*"), None),
    ("axial", {"ScanningSequence": "GR", **T2_PHYSICS}, None),
    ("axial", {"SequenceName": "*fl2d1", **T2_PHYSICS}, None),
    ("axial", {"ScanningSequence": ["EP", "SE"], **T2_PHYSICS}, None),
    ("axial", described("DWI b800", **T2_PHYSICS), None),
    ("sagittal", described("3-Plane Loc"), None),
    ("sagittal", described("SURVEY T2"), None),
    ("sagittal", described("posdisp"), None),
    ("sagittal", described("Cal SpineArray"), None),
    ("sagittal", described("T2", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), None),
    ("sagittal", described("T2", ImageType=["DERIVED", "SECONDARY", "MPR"]), None),
    ("sagittal", described("T2", ImageType=["DERIVED", "SECONDARY"]), None),
    ("sagittal", described("T2", ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]), None),
    ("sagittal", described("T2", ImageType=["DERIVED", "PRIMARY", "M", "NORM", "DIS2D"]), T2),
    ("sagittal", described("T2", ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]), None),
    ("sagittal", described("T2", ImageType=["DERIVED", "PRIMARY", "M", "SUB"]), None),
    ("sagittal", described("T2", ImageType=["DERIVED", "PRIMARY", "T2_STAR_MAP"]), None),
    ("sagittal", described("T2", ImageType=["DERIVED", "PRIMARY", "REFORMATTED", "AVERAGE"]), None),
    ("sagittal", described("T2", ImageType=["DERIVED", "PRIMARY", "OTHER", "MEAN"]), None),
    ("sagittal", described("T2", ImageType=["DERIVED"]), None),
    ("sagittal", described("T2 Myelo MIP"), None),
    ("sagittal", described("t2_haste myelographie"), None),
    ("sagittal", described("T2 sag HWS"), None),
    ("sagittal", described("T2 C-Spine sag"), None),
    ("sagittal", described("T2 sag", StudyDescription="MRT Schädel"), None),
    ("sagittal", described("T2", Modality="CT"), None),
    ("sagittal", described("T2", Modality="SR", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.34"), None),
    ("sagittal", described("T2", ImagePositionPatient=None), None),
]


@pytest.mark.parametrize(("plane", "header", "role"), TABLE, ids=lambda value: str(value)[:60])
def test_table(make_series, plane, header, role):
    """Each header gets exactly its role, beside a sound sagittal T2 and axial T2."""
    beside = make_series("sagittal", "1.2.3.8", **described("T2")) + make_series(
        "axial", "1.2.3.9", **described("T2")
    )
    routed = route(read_study(make_series(plane, "1.2.3.1", **header) + beside))
    decision = routed.decisions[0]
    assert decision.series_instance_uid == "1.2.3.1"
    assert decision.role is role, decision.reason
    assert decision.reason
    assert len(routed.decisions) == len(routed.study.series)
    assert {s.series_instance_uid for found in routed.roles.values() for s in found} == {
        d.series_instance_uid for d in routed.routed
    }


def test_conflicts_are_flagged(make_series):
    """Physics and orientation precede texts, and both contradictions are flagged."""
    series = make_series("sagittal", "1.2.3.1", **described("ax T1", **T2_PHYSICS))
    (decision,) = route(read_study(series)).decisions
    assert decision.role is T2
    assert "described as T1 but T2 by TE 110 ms" in decision.flags[0]
    assert decision.flags[1] == "described as axial but sagittal by orientation"


def test_evidence_is_kept_in_its_order(make_series):
    """Orientation, then physics, then texts; what lost is kept beside what decided."""
    header = described("ax T1 SUB", ContrastBolusAgent="yes", **T2_PHYSICS)
    series = make_series("sagittal", "1.2.3.1", **header)
    routed = route(read_study([*series, *make_series("axial", "1.2.3.2", **described("T2"))]))
    found = [(evidence.rule, evidence.says) for evidence in routed.decisions[0].evidence]
    assert found == [
        ("orientation", "sagittal"),
        ("echo_and_repetition", "T2"),
        ("reconstruction", "no role"),
        ("description", "T1"),
    ]


def test_localisers_and_short_series_have_no_role(make_series):
    """Slices in three planes are a localiser; four slices are too few."""
    localiser = [
        instance
        for plane in ("sagittal", "axial", "coronal")
        for instance in make_series(plane, "1.2.3.1", 5, **described("T2"))
    ]
    for index, instance in enumerate(localiser):
        instance.header.SOPInstanceUID = f"1.2.3.1.{index}"
    short = make_series("axial", "1.2.3.2", 4, **described("T2"))
    good = make_series("sagittal", "1.2.3.3", **described("T2"))
    reasons = [d.reason for d in route(read_study(localiser + short + good)).decisions]
    assert "localiser" in reasons[0]
    assert "too few slices: 4" in reasons[1]


@pytest.mark.parametrize(
    "unsound",
    [
        {"ImagePositionPatient": None},
        {"ImageOrientationPatient": None},
        {"ImageOrientationPatient": [0, 1, 0, 0, 0.2, -1]},
        {"PixelSpacing": None},
    ],
)
def test_a_series_without_planes_is_rejected_by_its_reason(make_series, unsound):
    """No position, no orientation, a shear or no spacing: rejected, and the reason says so."""
    series = make_series("sagittal", "1.2.3.1", 5, **described("T2", **unsound))
    beside = make_series("sagittal", "1.2.3.2", 5, **described("T2"))
    (decision,) = route(read_study([*series, *beside])).rejected
    assert decision.series_instance_uid == "1.2.3.1"
    assert "none of its 5 objects has a usable image plane: missing or invalid" in decision.reason
    assert decision.reason.endswith(("(Patient)", "Spacing", "Columns"))


def test_duplicates_are_ranked(make_series):
    """T2 before STIR, then coverage of the axial slices, then resolution, then time."""

    def sagittal(uid, text="T2", count=15, **changes):
        return make_series("sagittal", f"1.2.3.{uid}", count, **described(text, **changes))

    worst_first = [
        sagittal(9, "STIR sag", Rows=256, Columns=256, PixelSpacing=[1.1, 1.1]),
        sagittal(8, count=11),
        sagittal(7, AcquisitionDate="20240101"),
        sagittal(6, AcquisitionDate="20240102"),
        sagittal(5, Rows=256, Columns=256, PixelSpacing=[1.1, 1.1]),
    ]
    axial = make_series("axial", "1.2.3.20", **described("T2"))
    routed = route(read_study([i for series in worst_first for i in series] + axial))
    assert [s.series_instance_uid for s in routed.roles[T2]] == [f"1.2.3.{u}" for u in range(5, 10)]


def test_all_axial_series_are_kept(make_series):
    """Each axial T2 series keeps the role: every one may hold other levels."""
    axials = [i for u in (1, 2, 3) for i in make_series("axial", f"1.2.3.{u}", **described("T2"))]
    assert len(route(read_study(axials)).roles[AX]) == 3


def test_another_frame_of_reference_is_recorded(make_series):
    """Overlapping stacks of one patient position share a space; the doubt is recorded."""
    study = read_study(
        make_series("sagittal", "1.2.3.1", FrameOfReferenceUID="1.7", **described("T2"))
        + make_series("axial", "1.2.3.2", FrameOfReferenceUID="1.8", **described("T2"))
    )
    routed = route(study)
    assert {d.role for d in routed.decisions} == {T2, AX}
    found = [r for r in routed.study.repairs if r.kind is RepairKind.FRAME_OF_REFERENCE]
    assert [(r.series_instance_uid, r.instances) for r in found] == [("1.2.3.2", 15)]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"PatientPosition": "FFS"}, "patient position differs"),
        ({"FrameOfReferenceUID": "1.8", "moved": 400}, "stacks do not overlap"),
    ],
)
def test_what_shares_no_space_has_no_role(make_series, changes, why):
    """A moved patient, or stacks apart without a common frame of reference: rejected."""
    moved = changes.pop("moved", 0)
    axial = make_series("axial", "1.2.3.2", **described("T2", **changes))
    for instance in axial:
        x, y, z = instance.header.ImagePositionPatient
        instance.header.ImagePositionPatient = [x, y, z + moved]
    routed = route(read_study(make_series("sagittal", "1.2.3.1", **described("T2")) + axial))
    assert [d.role for d in routed.decisions] == [T2, None]
    assert why in routed.rejected[0].reason


def test_order_of_files_changes_no_decision(make_series):
    """Routing twenty shuffles of one study gives one result."""
    instances = [
        *make_series("sagittal", "1.2.3.1", **described("T2")),
        *make_series("sagittal", "1.2.3.2", **described("T2")),
        *make_series("sagittal", "1.2.3.3", FrameOfReferenceUID="1.8", **described("T1")),
        *make_series("axial", "1.2.3.4", **described("T2")),
    ]
    expected = route(read_study(instances))
    for seed in range(20):
        shuffled = random.Random(seed).sample(instances, len(instances))
        assert route(read_study(shuffled)) == expected


def test_refusals_say_why(make_series):
    """No MR and another region are not lumbar; MR without a role is unusable."""
    ct = make_series("axial", "1.2.3.1", Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    with pytest.raises(NotLumbar, match=r"no MR images, only CT \(1 series\)"):
        route(read_study(ct))
    brain = make_series("axial", "1.2.3.1", **described("T2 brain"))
    with pytest.raises(NotLumbar, match="brain"):
        route(read_study(brain))
    labelled = make_series("axial", "1.2.3.1", BodyPartExamined="HEAD", **described("T2"))
    with pytest.raises(NotLumbar, match="labelled"):
        route(read_study(labelled))
    with pytest.raises(NoUsableSeries, match="neither physics nor description"):
        route(read_study(make_series("axial", "1.2.3.1", **described("????"))))


@pytest.mark.parametrize(
    "said",
    [
        {"SeriesDescription": "???? lumbar"},
        {"StudyDescription": "MRI L-spine", "SeriesDescription": "loc"},
        {"BodyPartExamined": "LSPINE", "SeriesDescription": "????"},
    ],
)
def test_a_lumbar_study_without_a_usable_series_is_routed_all_the_same(make_series, said):
    """It is owed a report that says "not assessed": every series is rejected with its reason."""
    routed = route(read_study(make_series("axial", "1.2.3.1", **(described("") | said))))
    assert routed.roles == {}
    assert [bool(decision.reason) for decision in routed.rejected] == [True]


def test_a_processed_series_is_flagged(make_series):
    """A denoised or corrected primary image has its role, and the flag says what was done."""
    kinds = ["DERIVED", "PRIMARY", "M", "DRS"]
    instances = make_series("sagittal", "1.2.3.1", SeriesDescription="T2", ImageType=kinds)
    (decision,) = route(read_study(instances)).decisions
    assert decision.role is Role.SAGITTAL_T2
    assert any("processed after" in flag for flag in decision.flags)
