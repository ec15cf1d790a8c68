"""`lumbar reconcile`, `regrade` and `failures`: what they send, print and refuse.

Their effect is proven with real servers in tests/service/test_operations.py.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import redis

from worker import PIPELINE_VERSION
from worker.approaches import read_identity
from worker.archive import StudyEntry
from worker.cli import main
from worker.cli.operations import parse_since
from worker.errors import BadSettings, BrokenStudy, StudyGone
from worker.service import admin
from worker.service.admin import Installation
from worker.service.jobs import GradeJob, Priority
from worker.service.records import Kind, Record, sources_of

VERBS = ("reconcile", "regrade", *(f"failures {v}" for v in ("list", "show", "replay", "dismiss")))
OURS = read_identity().sha256
OTHERS = "f" * 64
NOW = datetime.now(UTC).replace(microsecond=0)
IMAGES = ("1", "2")


@dataclass
class FakeService:
    """An archive, its records and a queue in memory."""

    held: dict[str, tuple[str, ...]] = field(default_factory=dict)
    known: dict[str, Record] = field(default_factory=dict)
    sent: list[GradeJob] = field(default_factory=list)
    running_: list[str] = field(default_factory=list)
    bundles: set[str] = field(default_factory=lambda: {OURS})
    reports: set[str] = field(default_factory=lambda: {"report"})
    away: bool = False

    def studies(self):
        return (StudyEntry(s, "v", NOW - timedelta(days=2), stable=True) for s in self.held)

    def study_id(self, name):
        if name.removeprefix("uid-") not in self.held:
            raise StudyGone(f"no study {name}")
        return name.removeprefix("uid-")

    def inventory(self, study):
        return self.held.get(study, ())

    def stored(self, study, uid):
        return object() if uid in self.reports else None

    def read(self, study):
        return self.known.get(study)

    def failures(self):
        return {s: r for s, r in self.known.items() if r.kind is Kind.FAILED}

    def check(self):
        return "fake"

    def wait_is_over(self, now):
        return set()

    def refresh_indexes(self, archive, on_skipped):
        pass

    def refresh(self, studies, archive, on_skipped):
        pass

    def delete(self, study):
        del self.known[study]

    def write(self, study, record):
        self.known[study] = record

    def dismiss(self, study, record):
        self.known[study] = record.model_copy(update={"kind": Kind.DISMISSED})

    def running(self):
        return self.running_

    def current(self):
        return self.bundles

    def send(self, job):
        if self.away:
            raise redis.ConnectionError
        self.sent.append(job)

    def send_if_absent(self, job):
        if job.study in [sent.study for sent in self.sent]:
            return False
        self.send(job)
        return True

    def adds(self, study, kind=None, bundle=OURS, images=IMAGES, **details):
        """One more study, with its record where a kind is given."""
        self.held[study] = IMAGES
        if kind:
            details |= {"report": "report"} if kind is Kind.GRADED else {"code": "X", "reason": "y"}
            self.known[study] = Record(
                kind=kind,
                sources=sources_of(images),
                bundle=bundle,
                pipeline=PIPELINE_VERSION,
                time=NOW,
                **details,
            )


@pytest.fixture
def service(monkeypatch):
    """Replaces the service of the commands."""
    service = FakeService()

    @contextmanager
    def open_installation(settings):
        yield Installation(service, service, service, service, service)

    monkeypatch.setattr(admin, "open_installation", open_installation)
    return service


@pytest.fixture
def lumbar(capsys, monkeypatch):
    """Run the command; gives exit code, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def is_one_line(text):
    """Whether an error is one line of the command's own, without a trace."""
    return text.startswith("lumbar: ") and text.count("\n") == 1


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_contains_an_example(lumbar, verb):
    """Each command's help contains an example."""
    code, out, _ = lumbar(*verb.split(), "--help")
    assert code == 0
    assert f"lumbar {verb}" in out.partition("Example")[2]


def test_without_a_verb_it_lists_its_verbs(lumbar):
    """`lumbar failures` alone prints its help."""
    code, out, err = lumbar("failures")
    assert (code, err) == (0, "")
    assert all(verb in out for verb in ("list", "show", "replay", "dismiss"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("reconcile", "--since", "yesterday"), "--since yesterday"),
        (("regrade",), "exactly one of"),
        (("regrade", "s", "--all"), "exactly one of"),
        (("regrade", "--since", "7d", "--all"), "exactly one of"),
        (("regrade", "--since", "soon"), "--since soon"),
        (("regrade", "--all", "--bundle", "/none"), "no model bundle"),
        (("regrade", "nobody"), "no study nobody"),
        (("failures", "replay"), "or use --all"),
        (("failures", "dismiss", "s", "--all"), "or use --all"),
        (("failures", "replay", "s", "--code", "X"), "--code"),
        (("failures", "show", "new"), "has no record"),
        (("failures", "replay", "new"), "has no record"),
        (("failures", "dismiss", "graded"), "is graded"),
        (("failures", "dismiss", "rejected"), "is rejected"),
        (("failures", "replay", "graded"), "is graded"),
        (("failures", "list", "s"), "unexpected extra argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_usage_is_one_line_and_sends_nothing(lumbar, service, arguments, message):
    """Wrong usage is reported before anything is sent."""
    service.adds("s", Kind.FAILED)
    service.adds("new")
    service.adds("graded", Kind.GRADED)
    service.adds("rejected", Kind.REJECTED)
    before = dict(service.known)
    code, out, err = lumbar(*arguments)
    assert (code, out) == (2, "")
    assert is_one_line(err)
    assert message in err
    assert (service.sent, service.known) == ([], before)


def test_one_wrong_name_stops_all(lumbar, service):
    """Several studies are sent together; if one does not exist, none is."""
    service.adds("s", Kind.GRADED, OTHERS)
    service.held["empty"] = ()
    for wrong in ("nobody", "empty"):
        code, _, err = lumbar("regrade", "s", wrong)
        assert code == 2
        assert wrong in err
    assert lumbar("failures", "replay", "s", "nobody")[0] == 2
    assert service.sent == []


@pytest.mark.parametrize(
    ("verb", "images"), [("reconcile --since all", ("1",)), ("regrade --all", IMAGES)]
)
def test_a_study_that_cannot_be_read_is_reported_and_the_others_found(
    lumbar, service, monkeypatch, verb, images
):
    """The reason is on stderr, and stdout is JSON alone."""
    for study in ("odd", "s"):
        service.adds(study, Kind.GRADED, OTHERS, images=images)

    def read(study):
        if study == "odd":
            raise BrokenStudy("HTTP 400")
        return service.known.get(study)

    monkeypatch.setattr(service, "read", read)
    code, out, err = lumbar(*verb.split(), "--json")
    assert code == 0
    assert [one["study"] for one in json.loads(out)["studies"]] == ["s"]
    assert "skipped odd: HTTP 400" in err


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("4w", timedelta(weeks=4)),
        ("0h", timedelta(0)),
    ],
)
def test_a_time_ago(text, ago):
    """Hours, days and weeks count back from now."""
    assert abs(datetime.now(UTC) - ago - parse_since(text)) < timedelta(minutes=1)


def test_a_date_is_the_machines_and_all_is_no_bound():
    """A date begins at midnight where the command runs; a time zone that is given counts."""
    assert parse_since("all") is None
    assert parse_since("2026-11-01") == datetime(2026, 11, 1).astimezone()
    assert parse_since("2026-11-01T18:30+00:00") == datetime(2026, 11, 1, 18, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7m", "7d ", "2026-13-01", "100000w", "٧d"])
def test_an_invalid_time_is_refused(text):
    """What is neither a time ago nor a date is refused with examples."""
    with pytest.raises(BadSettings, match="12h, 7d, 4w"):
        parse_since(text)


def test_reconcile_prints_what_it_found_and_sends_it_last(lumbar, service):
    """A table for people and JSON for machines; running and queued studies are not sent again."""
    for study in ("new", "runs", "waits"):
        service.adds(study)
    service.adds("done", Kind.GRADED)
    service.adds("changed", Kind.REJECTED, images=("1",))
    service.running_, service.sent = ["runs"], [GradeJob("waits")]
    code, out, err = lumbar("reconcile", "--dry-run")
    assert (code, err, len(service.sent)) == (0, "", 1)
    assert "has no report yet" in out
    assert "found 4, queued 0" in out
    code, out, err = lumbar("reconcile", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)["studies"]
    assert {one["study"]: one["state"] for one in found} == {
        "new": "queued",
        "changed": "queued",
        "runs": "is being graded",
        "waits": "already in the queue",
    }
    assert datetime.fromisoformat(found[0]["changed"]) == NOW - timedelta(days=2)
    assert service.sent[1:] == [GradeJob(s, priority=Priority.BACKLOG) for s in ("new", "changed")]
    assert "found 0, queued 0" in lumbar("reconcile", "--since", "1d")[1]


def test_a_long_table_is_truncated(lumbar, service):
    """A table has at most 50 rows; JSON contains all studies."""
    for number in range(60):
        service.adds(f"study-{number}")
    out = lumbar("reconcile", "--dry-run")[1]
    assert out.count("study-") == 50
    assert "10 more" in out
    assert len(json.loads(lumbar("reconcile", "--dry-run", "--json")[1])["studies"]) == 60


def test_regrade_sends_what_other_models_graded(lumbar, service):
    """Only reports of other models: new, rejected, failed and dismissed studies are not sent."""
    service.adds("new")
    service.adds("ours", Kind.GRADED)
    service.adds("theirs", Kind.GRADED, OTHERS)
    for kind in (Kind.REJECTED, Kind.FAILED, Kind.DISMISSED):
        service.adds(kind.value, kind, OTHERS)
    assert "found 1, queued 0" in lumbar("regrade", "--all", "--dry-run")[1]
    assert "found 0, queued 0" in lumbar("regrade", "--since", "1d")[1]
    code, out, _ = lumbar("regrade", "--all")
    assert code == 0
    assert "found 1, queued 1" in out
    assert service.sent == [GradeJob("theirs", regrade=True, priority=Priority.BACKLOG)]
    assert lumbar("regrade", "--since", "3d", "--urgent")[0] == 0
    assert service.sent[1:] == [GradeJob("theirs", regrade=True, priority=Priority.URGENT)]


def test_regrade_after_a_change_of_rules_sends_all(lumbar, service):
    """With --rules studies of the same models are sent too; dead letters are not."""
    service.adds("ours", Kind.GRADED)
    service.adds("theirs", Kind.GRADED, OTHERS)
    service.adds("failed", Kind.FAILED)
    assert "found 2, queued 2" in lumbar("regrade", "--all", "--rules")[1]
    assert {job.study for job in service.sent} == {"ours", "theirs"}
    found = json.loads(lumbar("regrade", "ours", "failed", "--rules", "--json")[1])["studies"]
    assert [(one["study"], one["reason"]) for one in found] == [
        ("ours", "requested"),
        ("failed", "failed with these models: see `lumbar failures show`"),
    ]


def test_regrade_by_name_lists_unchanged_studies(lumbar, service):
    """Studies that these models graded or rejected are listed with what to do about them."""
    service.adds("ours", Kind.GRADED)
    service.adds("deleted", Kind.GRADED)
    service.known["deleted"] = service.known["deleted"].model_copy(update={"report": "none"})
    service.adds("theirs", Kind.REJECTED, OTHERS)
    service.adds("failed", Kind.FAILED)
    names = ("uid-ours", "ours", "deleted", "theirs", "failed")
    found = json.loads(lumbar("regrade", *names, "--json")[1])["studies"]
    left = {one["study"]: one["reason"] for one in found if one["state"] == "unchanged"}
    assert left == {
        "ours": "graded with these models",
        "failed": "failed with these models: see `lumbar failures show`",
    }
    assert [job.study for job in service.sent] == ["deleted", "theirs"]
    assert all(job.regrade for job in service.sent)


def test_regrade_checks_the_models_of_the_workers(lumbar, service):
    """Refused while a worker uses others; a dry run is not; without a worker it is reported."""
    service.adds("theirs", Kind.GRADED, OTHERS)
    service.bundles = {OURS, OTHERS}
    assert lumbar("regrade", "--all", "--dry-run")[0] == 0
    code, out, err = lumbar("regrade", "--all")
    assert (code, out, service.sent) == (2, "", [])
    assert is_one_line(err)
    assert "LUMBAR_BUNDLE" in err
    service.bundles = set()
    code, _, err = lumbar("regrade", "--all")
    assert (code, len(service.sent)) == (0, 1)
    assert "no worker is running" in err


def test_failures_are_listed_newest_first(lumbar, service):
    """Each with its code, step, attempts and reason."""
    for study, code, hours in (("old", "DeviceBusy", 5), ("new", "TimeLimit", 1)):
        service.adds(study, Kind.FAILED, step="grade", attempts=7)
        update = {"code": code, "time": NOW - timedelta(hours=hours)}
        service.known[study] = service.known[study].model_copy(update=update)
    out = lumbar("failures", "list")[1]
    assert out.index("TimeLimit") < out.index("DeviceBusy")
    for word in ("grade", "7", "y", "dead letters: 2"):
        assert word in out
    (one,) = json.loads(lumbar("failures", "list", "--code", "TimeLimit", "--json")[1])["failures"]
    assert (one["study"], one["step"], one["attempts"]) == ("new", "grade", 7)
    assert json.loads(lumbar("failures", "show", "uid-new", "--json")[1]) == one


def test_replay_deletes_the_record_and_sends(lumbar, service):
    """By code, or by name also rejected and dismissed studies; as new studies, or urgent."""
    for study, kind in (("f", Kind.FAILED), ("d", Kind.DISMISSED), ("r", Kind.REJECTED)):
        service.adds(study, kind)
    assert lumbar("failures", "replay", "--all", "--code", "Y")[1] == "no dead letters\n"
    out = lumbar("failures", "replay", "--all", "--code", "X", "--json")[1]
    assert json.loads(out) == {"replayed": ["f"]}
    assert lumbar("failures", "replay", "d", "r", "--urgent")[0] == 0
    assert service.known == {}
    urgent = [GradeJob(study, priority=Priority.URGENT) for study in ("d", "r")]
    assert service.sent == [GradeJob("f", priority=Priority.NEW), *urgent]


def test_dismiss_keeps_the_record(lumbar, service):
    """The record stays and says so; nothing is sent."""
    service.adds("f", Kind.FAILED)
    assert lumbar("failures", "dismiss", "--all")[1] == "dismissed  f\n"
    assert service.known["f"].kind is Kind.DISMISSED
    assert service.sent == []
    assert lumbar("failures", "dismiss", "f")[0] == 0


def test_a_replay_that_cannot_be_sent_restores_the_record(service):
    """Redis unavailable between the two: the study stays listed."""
    service.adds("f", Kind.FAILED)
    record, service.away = service.known["f"], True
    with pytest.raises(redis.RedisError):
        Installation(service, service, service, service, service).replay("f", record, Priority.NEW)
    assert service.known == {"f": record}
