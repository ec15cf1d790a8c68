"""Loading: only routed pixels, every orientation its own volume, bad slices left out."""

import random

import numpy as np
import pytest
from pydicom.uid import MPEG2MPML

from tests.support.encoders import holding
from worker.domain.study import RepairKind, Role
from worker.errors import BrokenStudy
from worker.intake.headers import read_study
from worker.intake.loading import load
from worker.intake.routing import route
from worker.intake.site import load_site_rules


class FakeArchive:
    """Files in memory by key, delivered in any order, counting what is asked for."""

    def __init__(self, files, seed=0):
        self.files, self.seed, self.asked = files, seed, []

    def fetch(self, keys):
        self.asked += keys
        for key in random.Random(self.seed).sample(sorted(keys), len(keys)):
            if key in self.files:
                yield key, self.files[key]


@pytest.fixture
def study(make_series, to_bytes):
    """Sagittal T1, two sagittal T2, axial T2 and an unused PD; pixels hold the slice's number."""
    series = {
        "1.2.3.1": ("sagittal", "T1"),
        "1.2.3.2": ("sagittal", "T2"),
        "1.2.3.3": ("sagittal", "STIR"),
        "1.2.3.4": ("axial", "T2"),
        "1.2.3.5": ("sagittal", "PD"),
    }
    instances = [
        instance
        for uid, (plane, text) in series.items()
        for instance in make_series(plane, uid, 8, SeriesDescription=text)
    ]
    files = {
        i.key: to_bytes(i.header, np.full((64, 64), int(i.key.split("/")[1]), np.uint16))
        for i in instances
    }
    return instances, files


def routed(instances):
    return route(read_study(instances))


def contents(volumes):
    return [(v.role, v.pixels[:, 0, 0].tolist(), [h.image for h in v.slices]) for v in volumes.all]


def test_only_the_chosen_series_are_read_and_once(study):
    """The reserve and the rejected series cost nothing; each object is fetched once."""
    instances, files = study
    archive = FakeArchive(files)
    seen = []
    volumes = load(routed(instances), archive.fetch, on_slice=seen.append)
    assert sorted(archive.asked) == sorted(
        key for key in files if key.split("/")[0] in ("1.2.3.1", "1.2.3.2", "1.2.3.4")
    )
    assert sum(seen) == 24
    assert [v.role for v in volumes.all] == [Role.SAGITTAL_T1, Role.SAGITTAL_T2, Role.AXIAL_T2]
    assert volumes.repairs == ()


def test_slices_lie_along_the_normal_with_their_own_pixels(study):
    """Instance numbers are ignored: order is by place, and pixels stay with their slice."""
    instances, files = study
    for instance in instances:
        instance.header.InstanceNumber = 99
    for volume in load(routed(instances), FakeArchive(files).fetch).all:
        offsets = [plane.position_mm @ volume.normal for plane in volume.planes]
        assert offsets == sorted(offsets)
        numbers = [int(h.image.sop_instance_uid.rsplit(".", 1)[1]) - 1 for h in volume.slices]
        assert volume.pixels[:, 0, 0].tolist() == numbers


def test_the_order_of_files_changes_nothing(study):
    """Shuffled listing and shuffled delivery give the same volumes."""
    instances, files = study
    expected = contents(load(routed(instances), FakeArchive(files).fetch))
    for seed in range(1, 6):
        shuffled = random.Random(seed).sample(instances, len(instances))
        assert contents(load(routed(shuffled), FakeArchive(files, seed).fetch)) == expected


def test_a_corrupt_slice_is_left_out_and_recorded(study):
    """Cut pixels, a foreign file and a vanished object cost three slices, not the study."""
    instances, files = study
    files["1.2.3.4/2"] = files["1.2.3.4/2"][:-100]
    files["1.2.3.4/3"] = b"not DICOM"
    del files["1.2.3.4/5"]
    volumes = load(routed(instances), FakeArchive(files).fetch)
    assert volumes.axial_t2[0].pixels[:, 0, 0].tolist() == [0, 1, 4, 6, 7]
    (repair,) = volumes.repairs
    assert (repair.kind, repair.instances) == (RepairKind.UNREADABLE, 3)
    assert repair.series_instance_uid == "1.2.3.4"


def test_the_reserve_takes_over(study):
    """A sagittal T2 that cannot be decoded gives way to the STIR in reserve, on record."""
    instances, files = study
    for k in range(5):
        files[f"1.2.3.2/{k}"] = b""
    volumes = load(routed(instances), FakeArchive(files).fetch)
    assert [v.series_instance_uid for v in volumes.sagittal_t2] == ["1.2.3.3"]
    assert [r.series_instance_uid for r in volumes.repairs] == ["1.2.3.2"]


def test_a_short_series_that_a_site_rule_grades_is_loaded(study, tmp_path):
    """A role is enough: the number of slices was judged when it was given."""
    instances, files = study
    short = [i for i in instances if i.key.split("/")[0] == instances[0].key.split("/")[0]][:4]
    rest = [i for i in instances if i.key.split("/")[0] != instances[0].key.split("/")[0]]
    rules = tmp_path / "site.toml"
    rules.write_text(
        '[[rule]]\nname = "x"\ndescription = "T1"\ngrade_despite = ["too few slices"]\n'
    )
    routed = route(read_study([*short, *rest]), load_site_rules(rules))
    (volume,) = load(routed, FakeArchive(files).fetch).sagittal_t1
    assert len(volume.slices) == 4


def test_nothing_decodable_is_a_broken_study(study):
    """A study without a single good pixel is refused with the reason, not graded empty."""
    instances, files = study
    for broken, why in (
        (dict.fromkeys(files, b""), "InvalidDicomError"),
        (
            {key: holding(file, MPEG2MPML, b"video!") for key, file in files.items()},
            "Unsupported.*MPEG2MPML",
        ),
    ):
        with pytest.raises(BrokenStudy, match=why):
            load(routed(instances), FakeArchive(broken).fetch)


@pytest.mark.parametrize("frames", [None, 200])
def test_more_pixels_than_a_study_may_hold_are_not_fetched(make_series, frames):
    """Many small compressed bombs are refused together, although each alone would be allowed."""
    side = 4096 if frames is None else 256
    study = routed(
        make_series("axial", "1.2.3.4", 12, Rows=side, Columns=side, SeriesDescription="T2")
    )
    for header in study.study.sources.values():
        header.NumberOfFrames = frames
    archive = FakeArchive({})
    with pytest.raises(BrokenStudy, match="pixels in total"):
        load(study, archive.fetch)
    assert not archive.asked


def test_mixed_orientations_and_shapes_become_volumes(make_series, to_bytes):
    """One axial series with tilted blocks and one other shape gives a volume for each."""
    instances = make_series("axial", "1.2.3.4", 12, SeriesDescription="T2")
    for k, instance in enumerate(instances):
        tilt = np.radians((0, 6, 25)[k // 4])
        instance.header.ImageOrientationPatient = [1, 0, 0, 0, np.cos(tilt), np.sin(tilt)]
        if k == 11:
            instance.header.Rows = instance.header.Columns = 32
    files = {
        i.key: to_bytes(i.header, np.zeros((i.header.Rows, i.header.Columns), np.uint16))
        for i in instances
    }
    volumes = load(routed(instances), FakeArchive(files).fetch)
    assert sorted(v.pixels.shape for v in volumes.axial_t2) == [
        (1, 32, 32),
        (3, 64, 64),
        (4, 64, 64),
        (4, 64, 64),
    ]


def test_of_two_slices_in_one_place_the_lowest_uid_stays(study, make_slice, to_bytes):
    """A repeated slice is dropped by its UID, never by the order of files, and recorded."""
    from worker.domain.study import Instance

    instances, files = study
    again = Instance(
        "again", make_slice("axial", 2, "1.2.3.4", SOPInstanceUID="1.2.3.0", SeriesDescription="T2")
    )
    files["again"] = to_bytes(again.header, np.full((64, 64), 77, np.uint16))
    for order in ([again, *instances], [*instances, again]):
        volumes = load(routed(order), FakeArchive(files).fetch)
        assert volumes.axial_t2[0].pixels[:, 0, 0].tolist() == [0, 1, 77, 3, 4, 5, 6, 7]
        assert [(r.kind, r.instances) for r in volumes.repairs] == [(RepairKind.DUPLICATE, 1)]


def test_the_real_studies_load(real_data):
    """Both real studies give three roles; the mixed axial series of the first gives five."""
    from worker.archive.folder import FolderArchive

    archive = FolderArchive()
    found = {}
    for study in ("train_images/1002894806", "test_images/44036939"):
        headers = archive.headers(str(real_data / "rsna_2024" / study))
        volumes = load(routed(headers), archive.fetch)
        found[study] = [len(volumes.of(role)) for role in Role]
        assert sum(len(v.slices) for v in volumes.all) == len(headers)
    assert list(found.values()) == [[1, 1, 5], [1, 1, 1]]
