"""What the reconciler finds owed, and what it leaves in peace; a table is its archive."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from worker.archive import HeldStudy
from worker.errors import ArchiveUnavailable, BadSettings, BrokenStudy, StudyGone
from worker.service.reconciling import Reconciler, Why
from worker.service.records import Kind, Record, sources_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
OURS, OTHERS = "a" * 64, "b" * 64
IMAGES = ("1", "2")


class FakeArchive:
    """Studies with their images, and the reports that are there; counts who is looked at."""

    def __init__(self):
        self.held = [HeldStudy("s", "v1", NOON - timedelta(hours=1), stable=True)]
        self.images = {"s": IMAGES}
        self.reports = {"report"}
        self.looked = []
        self.trouble = None

    def check(self):
        if self.trouble:
            raise self.trouble
        return "fake"

    def studies(self):
        return iter(self.held)

    def inventory(self, study):
        self.looked.append(study)
        return self.images.get(study, ())

    def stored(self, study, uid):
        return object() if uid in self.reports else None

    def change(self, **what):
        self.held = [replace(self.held[0], **what)]


class FakeRecords(dict):
    read = dict.get

    def waited(self, now):
        waiting = {s: r for s, r in self.items() if r.kind is Kind.WAITING}
        return {study for study, record in waiting.items() if not record.stands(now)}


class Clock:
    now = NOON

    def __call__(self):
        return self.now


@pytest.fixture
def archive():
    return FakeArchive()


@pytest.fixture
def records():
    return FakeRecords()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def reconciler(archive, records, clock):
    return Reconciler(archive, records, clock)


def record(kind=Kind.GRADED, images=IMAGES, **details) -> Record:
    report = {"report": "report"} if kind is Kind.GRADED else {}
    details = {"bundle": OURS, "time": NOON, **report, **details}
    return Record(kind=kind, sources=sources_of(images), **details)


def reasons(reconciler, **how):
    return [one.why for one in reconciler.owed(**how)]


WAITING = {"kind": Kind.WAITING, "until": NOON + timedelta(minutes=10)}


@pytest.mark.parametrize(
    ("known", "why"),
    [
        (None, Why.UNKNOWN),
        (record(), None),
        (record(images=("1",)), Why.CHANGED),
        (record(images=("1", "2", "3")), Why.CHANGED),
        (record(report="deleted"), Why.REPORT_DELETED),
        (record(bundle=OTHERS), None),
        (record(Kind.REJECTED), None),
        (record(Kind.FAILED), None),
        (record(Kind.DISMISSED), None),
        (record(Kind.DISMISSED, images=("1",)), Why.CHANGED),
        (record(**WAITING), None),
        (record(**{**WAITING, "until": NOON}), Why.WAITED),
        (record(**{**WAITING, "until": None}), Why.WAITED),
    ],
)
def test_why_a_study_is_owed_a_grading(reconciler, records, known, why):
    """Each record, about the images that are there or about others, with its consequence."""
    if known is not None:
        records["s"] = known
    assert reasons(reconciler) == ([why] if why else [])


@pytest.mark.parametrize("kind", Kind)
def test_only_reports_of_other_models_are_made_anew(reconciler, records, kind):
    """Asked for a bundle, what its own models graded, and what has no report, stays."""
    until = {"until": NOON + timedelta(hours=1)} if kind is Kind.WAITING else {}
    records["s"] = record(kind, bundle=OTHERS, **until)
    wanted = [Why.OTHER_MODELS] if kind is Kind.GRADED else []
    assert reasons(reconciler, bundle=OURS) == wanted
    assert reasons(reconciler, bundle=OTHERS) == []
    assert reasons(reconciler) == []


def test_what_was_settled_is_asked_again_for_a_bundle(reconciler, records):
    """That a study needed nothing yesterday does not say which models graded it."""
    records["s"] = record(bundle=OTHERS)
    assert reasons(reconciler) == []
    assert reasons(reconciler, bundle=OURS) == [Why.OTHER_MODELS]


def test_a_study_without_mr_is_owed_nothing(reconciler, archive):
    """A CT, or a study that was deleted a moment ago, has no images of ours."""
    archive.images = {}
    assert reasons(reconciler) == []


def test_a_study_that_goes_while_it_is_looked_at_stops_nothing(reconciler, archive, records):
    """The others are found."""
    archive.held = [replace(archive.held[0], study=name) for name in ("gone", "s")]

    def inventory(study):
        if study == "gone":
            raise StudyGone
        return IMAGES

    archive.inventory = inventory
    assert [one.study for one in reconciler.owed()] == ["s"]


@pytest.fixture
def odd(archive, records):
    """Gives a study named `odd` an error at one of the three things that are asked of it."""
    archive.held = [replace(archive.held[0], study=name) for name in ("odd", "s")]

    def with_error(where, error):
        records["odd"] = record()
        archive.images["odd"] = IMAGES
        holder = records if where == "read" else archive
        whole = getattr(holder, where)

        def ask(study, *more):
            if study == "odd":
                raise error
            return whole(study, *more)

        setattr(holder, where, ask)

    return with_error


@pytest.mark.parametrize("where", ["read", "inventory", "stored"])
@pytest.mark.parametrize("error", [ArchiveUnavailable("500"), BrokenStudy("400")])
def test_a_study_that_cannot_be_looked_at_holds_up_no_other(reconciler, odd, where, error):
    """While the archive is well it is named with the reason, in each pass, and nothing is kept."""
    odd(where, error)
    for _ in range(2):
        with capture_logs() as logged:
            assert [one.study for one in reconciler.owed()] == ["s"]
        (line,) = logged
        assert (line["study"], line["reason"]) == ("odd", str(error))
    told, settled = [], []
    list(
        reconciler.owed(
            bundle=OURS,
            passed_over=lambda *what: told.append(what),
            settled=lambda study, _: settled.append(study),
        )
    )
    assert told == [("odd", error)]
    assert settled == []


@pytest.mark.parametrize("trouble", [ArchiveUnavailable("away"), BadSettings("wrong")])
def test_an_archive_in_trouble_ends_the_pass(reconciler, archive, odd, trouble):
    """What the archive says of itself is raised: the next pass begins anew."""
    odd("inventory", ArchiveUnavailable("500"))
    archive.trouble = trouble
    with pytest.raises(type(trouble), match=str(trouble)):
        list(reconciler.owed())


def test_refused_credentials_end_the_pass(reconciler, odd):
    """What a person has to mend is said and not passed over."""
    odd("inventory", BadSettings("no entry"))
    with pytest.raises(BadSettings, match="no entry"):
        list(reconciler.owed())


@pytest.mark.parametrize(
    ("age_s", "quiet_s", "since_s", "owed"),
    [
        (0, 60, None, False),
        (59, 60, None, False),
        (60, 60, None, True),
        (60, 0, 60, True),
        (61, 0, 60, False),
        (-1, 60, None, True),  # the clock was set back: nobody waits for it to catch up
        (-3600, 60, 60, True),
    ],
)
def test_since_and_quiet(reconciler, archive, age_s, quiet_s, since_s, owed):
    """What changed too long ago or too recently is left out, on the bound it is in."""
    archive.change(changed=NOON - timedelta(seconds=age_s))
    since = None if since_s is None else NOON - timedelta(seconds=since_s)
    found = reasons(reconciler, quiet=timedelta(seconds=quiet_s), since=since)
    assert found == ([Why.UNKNOWN] if owed else [])


@pytest.mark.parametrize("days", [0, 1])
def test_waiting_ends_however_old_the_study_is(reconciler, archive, records, clock, days):
    """An old study that was asked for by hand and lacks a series is graded when its time comes."""
    archive.change(changed=NOON - timedelta(days=400))
    records["s"] = record(**WAITING)
    since = NOON - timedelta(days=days)
    assert reasons(reconciler, since=since) == []
    clock.now += timedelta(minutes=10)
    assert reasons(reconciler, since=since) == [Why.WAITED]
    archive.change(stable=False)
    assert reasons(reconciler, since=since) == []


def test_a_study_that_still_arrives_is_left_out(reconciler, archive):
    """As long as the archive calls it unstable, whoever asks."""
    archive.change(stable=False)
    assert reasons(reconciler, one_pass=True) == []
    archive.change(stable=True)
    assert reasons(reconciler) == [Why.UNKNOWN]


def test_without_a_stable_flag_two_passes_must_agree(reconciler, archive):
    """On DICOMweb a study is complete when it looks the same twice, or at once by hand."""
    archive.change(stable=None, changed=None)
    assert reasons(reconciler) == []
    archive.change(version="v2")
    assert reasons(reconciler) == []
    assert reasons(reconciler) == [Why.UNKNOWN]
    archive.change(version="v3")
    assert reasons(reconciler, one_pass=True) == [Why.UNKNOWN]


def test_a_study_that_was_found_settled_is_not_looked_at_again(reconciler, archive, records, clock):
    """Until it changes, or an hour has passed, or the clock was set back."""
    records["s"] = record()
    for _ in range(3):
        assert reasons(reconciler) == []
    assert archive.looked == ["s"]
    archive.change(version="v2")
    archive.images["s"] = ("1", "2", "3")
    assert reasons(reconciler) == [Why.CHANGED]
    records["s"] = record(images=("1", "2", "3"))
    assert reasons(reconciler) == []
    records.clear()  # a person took the record away, and the message was lost
    clock.now += timedelta(minutes=59)
    assert reasons(reconciler) == []
    clock.now += timedelta(minutes=2)
    assert reasons(reconciler) == [Why.UNKNOWN]
    records["s"] = record(images=("1", "2", "3"))
    assert reasons(reconciler) == []
    records.clear()
    clock.now -= timedelta(days=1)
    assert reasons(reconciler) == [Why.UNKNOWN]


def test_a_study_that_was_deleted_and_came_again_is_looked_at(reconciler, archive, records):
    """Though it looks as it did when it was found settled: its record and report went with it."""
    records["s"] = record()
    archive.change(stable=None, changed=None)
    assert reasons(reconciler) + reasons(reconciler) == []
    held, archive.held = archive.held, []
    assert reasons(reconciler) == []
    archive.held = held
    records.clear()
    assert reasons(reconciler) == []  # it may still arrive
    assert reasons(reconciler) == [Why.UNKNOWN]


@pytest.mark.parametrize(
    "known", [record(**WAITING), record(Kind.FAILED)], ids=["waiting", "failed"]
)
def test_what_waits_or_was_given_up_is_looked_at_in_every_pass(
    reconciler, archive, records, clock, known
):
    """Waiting ends without a change; and reading a dead letter lists it after a wiped Redis."""
    records["s"] = known
    assert reasons(reconciler) + reasons(reconciler) == []
    assert archive.looked == ["s", "s"]
    clock.now += timedelta(minutes=10)
    assert reasons(reconciler) == ([Why.WAITED] if known.kind is Kind.WAITING else [])


def test_every_study_is_shown_to_the_progress_bar(reconciler, archive, records):
    """Those that are left out count as looked at, too."""
    records["s"] = record()
    seen = []
    assert reasons(reconciler, since=NOON, looked=seen.append) == []
    assert seen == archive.held
