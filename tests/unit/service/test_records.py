"""Records beside the studies, and the index of dead letters that follows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import redis

from worker.errors import ArchiveUnavailable
from worker.service.records import Kind, Record, Records, RedisNotes

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
INDEX = "q:failures"


class FakeRedis:
    """Hashes in memory, while Redis is there."""

    def __init__(self):
        self.hashes = {}
        self.away = False

    def _hash(self, name):
        if self.away:
            raise redis.ConnectionError
        return self.hashes.setdefault(name, {})

    def hset(self, name, key, value):
        self._hash(name)[key.encode()] = value.encode()

    def hdel(self, name, key):
        self._hash(name).pop(key.encode(), None)

    def hget(self, name, key):
        return self._hash(name).get(key.encode())

    def hgetall(self, name):
        return dict(self._hash(name))

    def hkeys(self, name):
        return list(self._hash(name))


class FakeNotes(dict):
    note = dict.get

    def write_note(self, study, text):
        if text is None:
            self.pop(study, None)
        else:
            self[study] = text


class FakeArchive:
    """Well, or in trouble as a whole; with the images of these studies."""

    def __init__(self, trouble=None, held=()):
        self.trouble = trouble
        self.held = held
        self.asked = []

    def inventory(self, study):
        self.asked.append(study)
        if study == "odd":
            raise ArchiveUnavailable("500")
        return ["image"] if study in self.held else []

    def check(self):
        if self.trouble:
            raise self.trouble
        return "fake"


@pytest.fixture
def notes():
    return FakeNotes()


@pytest.fixture
def client():
    return FakeRedis()


@pytest.fixture
def records(notes, client):
    return Records(notes, client, "q")


def record(kind=Kind.FAILED):
    details = {"code": "DeviceBusy", "reason": "out of memory", "step": "grade", "tries": 3}
    return Record(kind=kind, sources="s", bundle="b", time=NOON, **details)


@pytest.mark.parametrize("kind", Kind)
def test_only_dead_letters_are_listed(records, kind):
    """Whatever kind replaces a dead letter, the list follows."""
    records.write("study", record())
    assert records.failures() == {"study": record()}
    records.write("study", record(kind))
    assert records.failures() == ({"study": record()} if kind is Kind.FAILED else {})
    assert records.read("study") == record(kind)


def test_who_has_waited_long_enough(records, notes, client):
    """Whoever's time is over, or has none; until another record takes that one's place."""
    minute = timedelta(minutes=1)
    for study, until in (("soon", NOON), ("late", NOON + minute), ("never", None)):
        records.write(study, record(Kind.WAITING).model_copy(update={"until": until}))
    records.write("failed", record())
    assert records.waited(NOON - minute) == {"never"}
    assert records.waited(NOON) == {"soon", "never"}
    client.hashes.clear()
    assert records.waited(NOON) == set()
    for study in ("soon", "late", "never"):
        records.read(study)
    assert records.waited(NOON + minute) == {"soon", "late", "never"}
    records.write("soon", record(Kind.GRADED))
    del notes["late"]
    records.recheck(FakeArchive())
    assert records.waited(NOON + minute) == {"never"}


def test_reading_mends_the_list(records, notes, client):
    """After Redis was wiped, or written while it was away, the note says what is listed."""
    records.write("study", record())
    client.hashes.clear()
    assert not records.failures()
    assert records.read("study") == record()
    assert records.failures() == {"study": record()}
    for left in ("not ours", '{"kind": "of_another_version"}', None):
        records.write("study", record())
        notes.write_note("study", left)
        assert records.read("study") is None
        assert records.failures() == {}


def test_redis_away_stops_no_record(records, notes, client):
    """The note is written and read; only the list itself is an error."""
    client.away = True
    records.write("study", record())
    assert records.read("study") == record()
    records.forget("study")
    assert not notes
    with pytest.raises(redis.RedisError):
        records.failures()


def test_forgotten_is_never_seen(records, notes):
    """Neither note nor list keeps anything of it."""
    records.write("study", record())
    records.forget("study")
    assert records.read("study") is None
    assert not notes
    assert not records.failures()


def test_dismissed_keeps_why_and_is_not_listed(records):
    """The record says as much as before, and stands while the images stay the same."""
    records.write("study", record())
    records.dismiss("study", record())
    kept = records.read("study")
    assert kept == record(Kind.DISMISSED)
    assert kept.stands(NOON)
    assert not records.failures()


def test_what_was_deleted_from_the_archive_leaves_the_list(records, notes):
    """Nobody reads the record of a study that is not there: the list is gone through."""
    for study in ("here", "deleted"):
        records.write(study, record())
    del notes["deleted"]
    assert records.failures().keys() == {"here", "deleted"}
    records.recheck(FakeArchive())
    assert records.failures().keys() == {"here"}


@pytest.fixture
def records_in_redis(client):
    """Records whose notes do not go with the studies."""
    return Records(RedisNotes(client, "q"), client, "q")


def test_without_a_place_beside_the_study_deleted_ones_are_forgotten(records_in_redis):
    """A dead letter or a wait of which the archive holds no image leaves list and notes."""
    records = records_in_redis
    kinds = {"here": Kind.FAILED, "odd": Kind.FAILED, "gone": Kind.FAILED, "waits": Kind.WAITING}
    for study, kind in kinds.items():
        records.write(study, record(kind))
    told = []
    records.recheck(FakeArchive(held=["here"]), lambda study, _: told.append(study))
    assert told == ["odd"]
    assert records.failures().keys() == {"here", "odd"}
    assert records.waited(NOON) == set()
    assert [records.read(study) for study in ("gone", "waits")] == [None, None]


@pytest.mark.parametrize("kind", Kind)
def test_records_of_deleted_studies_are_forgotten(records_in_redis, kind):
    """Whatever became of them; those that were listed a moment ago are not asked for again."""
    records, archive = records_in_redis, FakeArchive(held=["new"])
    for study in ("listed", "new", "gone", "odd"):
        records.write(study, record(kind))
    records.forget_deleted(archive, {"listed"})
    assert sorted(archive.asked) == ["gone", "new", "odd"]
    assert records.read("gone") is None
    assert all(records.read(study) == record(kind) for study in ("listed", "new", "odd"))
    with pytest.raises(ArchiveUnavailable, match="away"):
        records.forget_deleted(FakeArchive(ArchiveUnavailable("away")), {"listed", "new"})


def test_notes_beside_their_studies_are_left_to_the_archive(records, notes):
    """A study without MR images keeps its record as long as it is there itself."""
    records.write("CT", record())
    records.recheck(FakeArchive())
    records.forget_deleted(FakeArchive(), set())
    assert records.failures().keys() == {"CT"}


def test_a_note_that_cannot_be_read_hides_no_other(records, notes):
    """It stays in the list and is named; where the archive is away, that is the error."""
    for study in ("odd", "deleted"):
        records.write(study, record())
    del notes["deleted"]
    error = ArchiveUnavailable("500")

    def note(study):
        if study == "odd":
            raise error
        return notes.get(study)

    notes.note = note
    told = []
    records.recheck(FakeArchive(), lambda *what: told.append(what))
    assert told == [("odd", error)]
    assert records.failures().keys() == {"odd"}
    with pytest.raises(ArchiveUnavailable, match="away"):
        records.recheck(FakeArchive(ArchiveUnavailable("away")))


def test_an_entry_that_is_not_ours_hides_no_other(records, client):
    """What another version wrote into the list is left out of it."""
    records.write("study", record())
    client.hset(INDEX, "strange", "{}")
    assert records.failures() == {"study": record()}
