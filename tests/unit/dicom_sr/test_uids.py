"""UIDs are legal, deterministic and distinct."""

from __future__ import annotations

import uuid

from pydicom.uid import UID

from dicom_sr import uids
from dicom_sr.findings import TARGETS, ImageReference


def test_derived_uids_are_uuids_under_2_25() -> None:
    """Each is a legal UID whose number is a version 8 UUID of the RFC 9562 variant."""
    for n in range(200):
        made = uids.derived_uid("a", str(n))
        assert UID(made).is_valid
        assert len(made) <= 64
        number = uuid.UUID(int=int(made.removeprefix("2.25.")))
        assert (number.version, number.variant) == (8, uuid.RFC_4122)


def test_derived_uids_never_change() -> None:
    """UIDs stored last year must still be found: the derivation is frozen."""
    assert uids.derived_uid("a", "bc") == "2.25.84653297567445782896943492490882286583"


def test_parts_do_not_run_together() -> None:
    """Where one part ends matters: ("a", "bc") is not ("ab", "c")."""
    assert (
        len({uids.derived_uid(*p) for p in [("a", "bc"), ("ab", "c"), ("abc",), ("abc", "")]}) == 4
    )


def test_every_name_of_one_report_is_its_own() -> None:
    """SR, series, device, repaired instance and the 25 tracked targets share no UID."""
    instance = uids.sr_instance_uid("1.2", "f", "b", 1)
    made = [
        instance,
        uids.sr_series_uid("1.2", "f", "b", 1),
        uids.device_uid("b"),
        uids.derived_instance_uid("1.2", "f"),
        *(uids.tracking_uid(instance, target) for target in TARGETS),
    ]
    assert len(set(made)) == len(made) == 29


def test_sr_uids_depend_on_study_images_models_and_pipeline() -> None:
    """Another study, other images, models or pipeline version give another SR and series."""
    for name in (uids.sr_instance_uid, uids.sr_series_uid):
        variants = [
            ("s", "f", "b", 1),
            ("S", "f", "b", 1),
            ("s", "F", "b", 1),
            ("s", "f", "B", 1),
            ("s", "f", "b", 2),
        ]
        assert len({name(*variant) for variant in variants}) == 5


def test_fingerprint_tells_series_apart() -> None:
    """The same SOP Instance UID in another series is another image."""
    a, b = ImageReference("1", "9"), ImageReference("2", "9")
    assert len({uids.fingerprint([a]), uids.fingerprint([b]), uids.fingerprint([a, b])}) == 3
    used = {uids.fingerprint([a], words) for words in ([], ["t1"], ["t2"], ["t1", "t2"])}
    assert len(used) == 4
    assert uids.fingerprint([a], ["t1", "t2"]) == uids.fingerprint([a], ["t2", "t1", "t1"])
