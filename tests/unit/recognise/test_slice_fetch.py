"""The middle slice: one object fetched of an undecided series, none of any other."""

from collections import Counter

import pytest
from pydicom import dcmread

from worker.archive.folder import FolderArchive
from worker.domain.study import Role
from worker.errors import NoUsableSeries
from worker.intake.site import SiteRule
from worker.phantom import write_phantom
from worker.pipeline import route_study
from worker.recognise import recogniser

TELLING = (
    "SeriesDescription", "ProtocolName", "SequenceName", "EchoTime", "RepetitionTime",
    "InversionTime", "FlipAngle", "EchoTrainLength", "ScanningSequence", "SequenceVariant",
    "ScanOptions", "ImageType", "MRAcquisitionType",
)  # fmt: skip


class Counting(FolderArchive):
    """A folder that counts which objects are fetched."""

    def __init__(self):
        super().__init__()
        self.fetched = Counter()

    def fetch(self, keys):
        self.fetched.update(keys)
        return super().fetch(keys)


@pytest.fixture
def study(phantom, tmp_path):
    """Write the phantom; strip every description and all physics from series of some roles."""

    def write(*stripped: Role):
        write_phantom(phantom, tmp_path)
        for file in tmp_path.rglob("*.dcm"):
            image = dcmread(file)
            if image.SeriesInstanceUID in {phantom.of(r).series_instance_uid for r in stripped}:
                for keyword in TELLING:
                    if keyword in image:
                        del image[keyword]
                image.save_as(file)
        return tmp_path

    return write


def test_a_study_that_headers_decide_costs_no_pixel_and_no_weights(study, monkeypatch):
    """Nothing is fetched, and no weights are loaded, while headers route a study."""
    monkeypatch.setattr(recogniser, "packaged", lambda: pytest.fail("weights were asked for"))
    archive = Counting()
    route_study(str(study()), archive)
    assert archive.fetched == {}


def test_a_stripped_t2_is_routed_by_one_slice(study, phantom):
    """Without descriptions and physics the real recogniser finds the T2, from its middle slice."""
    archive = Counting()
    routed = route_study(str(study(Role.SAGITTAL_T2)), archive)
    (series,) = routed.roles[Role.SAGITTAL_T2]
    expected = phantom.of(Role.SAGITTAL_T2)
    assert series.series_instance_uid == expected.series_instance_uid
    ((key, times),) = archive.fetched.items()
    middle = expected.image(len(expected.pixels) // 2)
    assert (dcmread(key).SOPInstanceUID, times) == (middle.sop_instance_uid, 1)


def test_a_stripped_study_keeps_what_is_seen_and_refuses_the_rest(study, phantom):
    """T2 is routed; T1 and the axial series are not, each with a reason; two objects are read."""
    archive = Counting()
    routed = route_study(str(study(*Role)), archive)
    assert set(routed.roles) == {Role.SAGITTAL_T2}
    reasons = {d.series_instance_uid: d.evidence[-1].because for d in routed.decisions}
    assert "axial" in reasons[phantom.of(Role.AXIAL_T2).series_instance_uid]
    assert "marrow" in reasons[phantom.of(Role.SAGITTAL_T1).series_instance_uid]
    assert archive.fetched.total() == 2


def test_a_site_rule_beats_the_pixels(study, phantom):
    """A site that calls every sagittal series T1 is obeyed, and nothing is fetched."""
    archive = Counting()
    rules = (SiteRule("ours", Role.SAGITTAL_T1, ""),)
    routed = route_study(str(study(Role.SAGITTAL_T2, Role.SAGITTAL_T1)), archive, site=rules)
    uids = {series.series_instance_uid for series in routed.roles[Role.SAGITTAL_T1]}
    assert phantom.of(Role.SAGITTAL_T2).series_instance_uid in uids
    assert archive.fetched == {}


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_slice_that_cannot_be_read_leaves_the_series_undecided(study, damage):
    """A cut or absent middle slice is a reason in the evidence, never a traceback."""

    class Damaged(Counting):
        def fetch(self, keys):
            for key, content in super().fetch(keys):
                if damage == "cut":
                    yield key, content[: len(content) // 2]

    folder = study(Role.SAGITTAL_T2)
    archive = Damaged()
    try:
        decisions = route_study(str(folder), archive).decisions
    except NoUsableSeries:
        pytest.fail("the other series have roles")
    (undecided,) = [d for d in decisions if d.role is None]
    assert "middle slice cannot be" in undecided.evidence[-1].because
    assert archive.fetched.total() == 1
