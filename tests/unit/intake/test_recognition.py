"""Pixels in routing: asked last, about one kind of series alone, and never against headers."""

import pytest

from worker.domain.study import Role
from worker.errors import NoUsableSeries
from worker.intake.headers import read_study
from worker.intake.recognition import Recognition
from worker.intake.routing import route
from worker.intake.site import SiteRule
from worker.intake.weighting import Weighting


class Eyes:
    """A recogniser that always sees the same, and keeps the series it was asked about."""

    def __init__(self, weighting):
        self.seen = Recognition(weighting, f"its middle slice looks {weighting}-weighted")
        self.asked = []

    def __call__(self, series):
        self.asked.append(series.series_instance_uid)
        return self.seen


@pytest.fixture
def decide(make_series):
    """The decision about series 1.2.3.1 next to a sagittal T2 series with known headers."""

    def run(eyes, plane="sagittal", **header):
        beside = make_series("sagittal", "1.2.3.8", SeriesDescription="T2")
        study = read_study(make_series(plane, "1.2.3.1", **header) + beside)
        return route(study, (), eyes).decisions[0]

    return run


@pytest.mark.parametrize(
    ("weighting", "role"),
    [(Weighting.T1, Role.SAGITTAL_T1), (Weighting.T2, Role.SAGITTAL_T2)],
)
def test_an_undecided_series_gets_the_role_of_what_is_seen(decide, weighting, role):
    """The role, the flag and the evidence, last, say that pixels alone decided."""
    decision = decide(Eyes(weighting))
    assert decision.role is role
    assert decision.flags == ("weighting recognised from pixels alone",)
    assert decision.evidence[-1].rule == "pixels"
    assert decision.evidence[-1].says == weighting.value


def test_what_is_not_seen_stays_rejected_as_it_was(decide):
    """Without a weighting the reason is that of the headers; the evidence says what was tried."""
    blind, without = decide(Eyes(None)), decide(None)
    assert (blind.role, blind.reason, blind.flags) == (None, without.reason, ())
    assert [e.rule for e in blind.evidence if e not in without.evidence] == ["pixels"]


@pytest.mark.parametrize(
    ("plane", "header"),
    [
        ("sagittal", {"SeriesDescription": "T1"}),
        ("sagittal", {"EchoTime": 10, "RepetitionTime": 600}),
        ("sagittal", {"SeriesDescription": "localizer"}),
        ("sagittal", {"SeriesDescription": "PD"}),
        ("sagittal", {"ScanningSequence": "GR"}),
        ("sagittal", {"SeriesDescription": "T2", "EchoTime": 20}),
        ("sagittal", {"Modality": "CT"}),
        ("coronal", {}),
    ],
)
def test_nobody_looks_where_headers_decide(decide, plane, header):
    """Decided, excluded and contradictory headers cost no pixel, and pixels change nothing."""
    eyes = Eyes(Weighting.T2)
    assert decide(eyes, plane, **header) == decide(None, plane, **header)
    assert eyes.asked == []


def test_physics_that_is_told_beats_what_is_seen(decide):
    """An echo of 70 ms is no T1, whatever it looks like: rejected, and the conflict is flagged."""
    decision = decide(Eyes(Weighting.T1), EchoTime=70)
    assert decision.role is None
    assert decision.flags == ("pixels are T1-weighted, contradicted by TE 70 ms",)


@pytest.mark.parametrize("header", [{"ContrastBolusAgent": "yes"}, {"ScanOptions": "FS"}])
def test_contrast_and_fat_suppression_refine_what_is_seen(decide, header):
    """A T1 by its pixels with an agent or fat suppression in its header has no role."""
    decision = decide(Eyes(Weighting.T1), **header)
    assert decision.role is None
    assert decision.reason.endswith("is not used")


def test_a_site_rule_is_obeyed_before_anyone_looks(make_series):
    """A site's rule decides, and no pixel is read."""
    eyes = Eyes(Weighting.T2)
    rule = SiteRule("ours", Role.SAGITTAL_T1, "")
    (decision,) = route(read_study(make_series("sagittal", "1.2.3.1")), (rule,), eyes).decisions
    assert (decision.role, eyes.asked) == (Role.SAGITTAL_T1, [])


@pytest.mark.parametrize(
    "told", [{"EchoTime": 100, "RepetitionTime": 3500}, {"InversionTime": 150}]
)
def test_a_series_classified_by_headers_precedes_one_classified_by_pixels(make_series, told):
    """Also where the other one has a higher resolution; T2 and STIR share the role."""
    fine = {"Rows": 128, "Columns": 128, "PixelSpacing": [2.1, 2.1]}
    untold = make_series("sagittal", "1.2.3.1", **fine)
    study = read_study([*untold, *make_series("sagittal", "1.2.3.2", **told)])
    routed = route(study, (), Eyes(Weighting.T2))
    assert [s.series_instance_uid for s in routed.roles[Role.SAGITTAL_T2]] == ["1.2.3.2", "1.2.3.1"]


def test_the_space_of_a_study_is_that_of_a_series_that_headers_tell(make_series):
    """Two series classified by pixels do not define the patient space against headers."""
    elsewhere = {"PatientPosition": "FFS"}
    untold = [i for u in (1, 2) for i in make_series("sagittal", f"1.2.3.{u}", **elsewhere)]
    told = make_series("sagittal", "1.2.3.3", EchoTime=100, RepetitionTime=3500)
    routed = route(read_study([*untold, *told]), (), Eyes(Weighting.T2))
    assert [s.series_instance_uid for s in routed.roles[Role.SAGITTAL_T2]] == ["1.2.3.3"]


def test_without_a_recogniser_nothing_is_seen(make_series):
    """Routing alone still refuses a study whose headers say nothing."""
    with pytest.raises(NoUsableSeries):
        route(read_study(make_series("sagittal", "1.2.3.1")))
