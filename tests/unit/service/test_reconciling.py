"""Which studies the reconciler finds pending and which it skips; the archive is a table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from worker import PIPELINE_VERSION
from worker.archive import StudyEntry
from worker.errors import ArchiveUnavailable, BadSettings, BrokenStudy, StudyGone
from worker.service.reconciling import PendingReason, Reconciler
from worker.service.records import Kind, Record, sources_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
OURS, OTHERS = "a" * 64, "b" * 64
IMAGES = ("1", "2")


class FakeArchive:
    """Studies with their images and reports; notes which inventories are read."""

    def __init__(self):
        self.held = [StudyEntry("s", "v1", NOON - timedelta(hours=1), stable=True)]
        self.images = {"s": IMAGES}
        self.reports = {"report"}
        self.read_inventories = []
        self.problem = None

    def check(self):
        if self.problem:
            raise self.problem
        return "fake"

    def studies(self):
        return iter(self.held)

    def inventory(self, study):
        self.read_inventories.append(study)
        return self.images.get(study, ())

    def stored(self, study, uid):
        return object() if uid in self.reports else None

    def change(self, **what):
        self.held = [replace(self.held[0], **what)]


class FakeRecords(dict):
    read = dict.get

    def wait_is_over(self, now):
        waiting = {s: r for s, r in self.items() if r.kind is Kind.WAITING}
        return {study for study, record in waiting.items() if not record.is_final(now)}


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
    details = {"pipeline": PIPELINE_VERSION, **details}
    return Record(kind=kind, sources=sources_of(images), **details)


def reasons(reconciler, **how):
    return [one.reason for one in reconciler.pending(**how)]


WAITING = {"kind": Kind.WAITING, "until": NOON + timedelta(minutes=10)}


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (None, PendingReason.NO_REPORT),
        (record(), None),
        (record(images=("1",)), PendingReason.CHANGED),
        (record(images=("1", "2", "3")), PendingReason.CHANGED),
        (record(report="deleted"), PendingReason.REPORT_DELETED),
        (record(bundle=OTHERS), None),
        (record(Kind.REJECTED), None),
        (record(Kind.FAILED), None),
        (record(Kind.DISMISSED), None),
        (record(Kind.DISMISSED, images=("1",)), PendingReason.CHANGED),
        (record(**WAITING), None),
        (record(**{**WAITING, "until": NOON}), PendingReason.WAIT_OVER),
        (record(**{**WAITING, "until": None}), PendingReason.WAIT_OVER),
    ],
)
def test_why_a_study_is_pending(reconciler, records, known, reason):
    """Each kind of record, about the current images or about others, with its consequence."""
    if known is not None:
        records["s"] = known
    assert reasons(reconciler) == ([reason] if reason else [])


@pytest.mark.parametrize("kind", Kind)
def test_only_reports_of_other_models_are_regraded(reconciler, records, kind):
    """With a bundle, studies that its models graded or that have no report are not pending."""
    until = {"until": NOON + timedelta(hours=1)} if kind is Kind.WAITING else {}
    records["s"] = record(kind, bundle=OTHERS, **until)
    wanted = [PendingReason.OTHER_MODELS] if kind is Kind.GRADED else []
    assert reasons(reconciler, bundle=OURS) == wanted
    assert reasons(reconciler, bundle=OTHERS) == []
    assert reasons(reconciler) == []


def test_a_settled_study_is_compared_again_with_a_bundle(reconciler, records):
    """A study that is settled may have been graded by other models."""
    records["s"] = record(bundle=OTHERS)
    assert reasons(reconciler) == []
    assert reasons(reconciler, bundle=OURS) == [PendingReason.OTHER_MODELS]


def test_reports_of_an_earlier_pipeline_version_are_regraded(reconciler, records, monkeypatch):
    """The same models with another version of intake, findings or layout write another report."""
    records["s"] = record(bundle=OURS)
    assert reasons(reconciler, bundle=OURS) == []
    monkeypatch.setattr("worker.service.records.PIPELINE_VERSION", PIPELINE_VERSION + 1)
    assert reasons(reconciler, bundle=OURS) == [PendingReason.OTHER_MODELS]


def test_a_study_without_mr_is_not_pending(reconciler, archive):
    """A CT study, or one that was just deleted, has no MR images."""
    archive.images = {}
    assert reasons(reconciler) == []


def test_a_study_that_is_deleted_meanwhile_does_not_block_others(reconciler, archive, records):
    """The others are found."""
    archive.held = [replace(archive.held[0], study=name) for name in ("gone", "s")]

    def inventory(study):
        if study == "gone":
            raise StudyGone
        return IMAGES

    archive.inventory = inventory
    assert [one.study for one in reconciler.pending()] == ["s"]


@pytest.fixture
def broken(archive, records):
    """Makes one of the three methods fail for a study named `broken`."""
    archive.held = [replace(archive.held[0], study=name) for name in ("broken", "s")]

    def with_error(where, error):
        records["broken"] = record()
        archive.images["broken"] = IMAGES
        holder = records if where == "read" else archive
        whole = getattr(holder, where)

        def ask(study, *more):
            if study == "broken":
                raise error
            return whole(study, *more)

        setattr(holder, where, ask)

    return with_error


@pytest.mark.parametrize("where", ["read", "inventory", "stored"])
@pytest.mark.parametrize("error", [ArchiveUnavailable("500"), BrokenStudy("400")])
def test_a_study_that_cannot_be_read_does_not_block_others(reconciler, broken, where, error):
    """While the archive works otherwise, each pass logs the study and the reason, and goes on."""
    broken(where, error)
    for _ in range(2):
        with capture_logs() as logged:
            assert [one.study for one in reconciler.pending()] == ["s"]
        (line,) = logged
        assert (line["study"], line["reason"]) == ("broken", str(error))
    told, settled = [], []
    list(
        reconciler.pending(
            bundle=OURS,
            on_skipped=lambda *what: told.append(what),
            on_settled=lambda study, _: settled.append(study),
        )
    )
    assert told == [("broken", error)]
    assert settled == []


@pytest.mark.parametrize("problem", [ArchiveUnavailable("away"), BadSettings("wrong")])
def test_an_archive_that_does_not_work_ends_the_pass(reconciler, archive, broken, problem):
    """The error of `check` is raised: the next pass starts again."""
    broken("inventory", ArchiveUnavailable("500"))
    archive.problem = problem
    with pytest.raises(type(problem), match=str(problem)):
        list(reconciler.pending())


def test_refused_credentials_end_the_pass(reconciler, broken):
    """An error that needs an administrator is raised, not skipped."""
    broken("inventory", BadSettings("no entry"))
    with pytest.raises(BadSettings, match="no entry"):
        list(reconciler.pending())


@pytest.mark.parametrize(
    ("age_s", "quiet_s", "since_s", "pending"),
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
def test_since_and_quiet(reconciler, archive, age_s, quiet_s, since_s, pending):
    """A study that changed too long ago or too recently is not pending; limits are inclusive."""
    archive.change(changed=NOON - timedelta(seconds=age_s))
    since = None if since_s is None else NOON - timedelta(seconds=since_s)
    found = reasons(reconciler, quiet=timedelta(seconds=quiet_s), since=since)
    assert found == ([PendingReason.NO_REPORT] if pending else [])


@pytest.mark.parametrize("days", [0, 1])
def test_waiting_ends_however_old_the_study_is(reconciler, archive, records, clock, days):
    """An old study that waits for a missing series is graded when the wait is over."""
    archive.change(changed=NOON - timedelta(days=400))
    records["s"] = record(**WAITING)
    since = NOON - timedelta(days=days)
    assert reasons(reconciler, since=since) == []
    clock.now += timedelta(minutes=10)
    assert reasons(reconciler, since=since) == [PendingReason.WAIT_OVER]
    archive.change(stable=False)
    assert reasons(reconciler, since=since) == []


def test_a_study_that_still_arrives_is_not_pending(reconciler, archive):
    """As long as the archive calls it unstable, in every mode."""
    archive.change(stable=False)
    assert reasons(reconciler, one_pass=True) == []
    archive.change(stable=True)
    assert reasons(reconciler) == [PendingReason.NO_REPORT]


def test_without_a_stable_flag_two_passes_must_agree(reconciler, archive):
    """On DICOMweb a study is complete when it looks the same twice, or at once by hand."""
    archive.change(stable=None, changed=None)
    assert reasons(reconciler) == []
    archive.change(version="v2")
    assert reasons(reconciler) == []
    assert reasons(reconciler) == [PendingReason.NO_REPORT]
    archive.change(version="v3")
    assert reasons(reconciler, one_pass=True) == [PendingReason.NO_REPORT]


def test_a_settled_study_is_not_read_again(reconciler, archive, records, clock):
    """Until it changes, or an hour has passed, or the clock was set back."""
    records["s"] = record()
    for _ in range(3):
        assert reasons(reconciler) == []
    assert archive.read_inventories == ["s"]
    archive.change(version="v2")
    archive.images["s"] = ("1", "2", "3")
    assert reasons(reconciler) == [PendingReason.CHANGED]
    records["s"] = record(images=("1", "2", "3"))
    assert reasons(reconciler) == []
    records.clear()  # the record was deleted by hand, and the message was lost
    clock.now += timedelta(minutes=59)
    assert reasons(reconciler) == []
    clock.now += timedelta(minutes=2)
    assert reasons(reconciler) == [PendingReason.NO_REPORT]
    records["s"] = record(images=("1", "2", "3"))
    assert reasons(reconciler) == []
    records.clear()
    clock.now -= timedelta(days=1)
    assert reasons(reconciler) == [PendingReason.NO_REPORT]


def test_a_study_that_was_deleted_and_sent_again_is_pending(reconciler, archive, records):
    """Even if it looks the same: its record and report were deleted with it."""
    records["s"] = record()
    archive.change(stable=None, changed=None)
    assert reasons(reconciler) + reasons(reconciler) == []
    held, archive.held = archive.held, []
    assert reasons(reconciler) == []
    archive.held = held
    records.clear()
    assert reasons(reconciler) == []  # it may still arrive
    assert reasons(reconciler) == [PendingReason.NO_REPORT]


@pytest.mark.parametrize(
    "known", [record(**WAITING), record(Kind.FAILED)], ids=["waiting", "failed"]
)
def test_waiting_studies_and_dead_letters_are_read_in_every_pass(
    reconciler, archive, records, clock, known
):
    """A wait ends without a change, and reading a dead letter restores its index entry."""
    records["s"] = known
    assert reasons(reconciler) + reasons(reconciler) == []
    assert archive.read_inventories == ["s", "s"]
    clock.now += timedelta(minutes=10)
    assert reasons(reconciler) == ([PendingReason.WAIT_OVER] if known.kind is Kind.WAITING else [])


def test_every_study_is_shown_to_the_progress_bar(reconciler, archive, records):
    """Those that are not pending, too."""
    records["s"] = record()
    seen = []
    assert reasons(reconciler, since=NOON, on_study=seen.append) == []
    assert seen == archive.held
