"""Records as metadata of the studies, and the indexes derived from them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import redis

from worker.errors import ArchiveUnavailable
from worker.service.record_store import RecordStore, RedisMetadata
from worker.service.records import Kind, Record

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
INDEX = "q:failures"


class FakeRedis:
    """Hashes in memory; `away` makes Redis unavailable."""

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


class FakeMetadata(dict):
    read_metadata = dict.get

    def write_metadata(self, study, text):
        if text is None:
            self.pop(study, None)
        else:
            self[study] = text


class FakeArchive:
    """An archive with the images of these studies, or one that does not work."""

    def __init__(self, problem=None, held=()):
        self.problem = problem
        self.held = held
        self.asked = []

    def inventory(self, study):
        self.asked.append(study)
        if study == "broken":
            raise ArchiveUnavailable("500")
        return ["image"] if study in self.held else []

    def check(self):
        if self.problem:
            raise self.problem
        return "fake"


@pytest.fixture
def metadata():
    return FakeMetadata()


@pytest.fixture
def client():
    return FakeRedis()


@pytest.fixture
def records(metadata, client):
    return RecordStore(metadata, client, "q")


def record(kind=Kind.FAILED):
    details = {"code": "DeviceBusy", "reason": "out of memory", "step": "grade", "attempts": 3}
    return Record(kind=kind, sources="s", bundle="b", time=NOON, **details)


@pytest.mark.parametrize("kind", Kind)
def test_only_dead_letters_are_listed(records, kind):
    """A record of any kind that replaces a dead letter updates the index."""
    records.write("study", record())
    assert records.failures() == {"study": record()}
    records.write("study", record(kind))
    assert records.failures() == ({"study": record()} if kind is Kind.FAILED else {})
    assert records.read("study") == record(kind)


def test_which_studies_have_waited_long_enough(records, metadata, client):
    """Those whose time is over or not set, until another record replaces theirs."""
    minute = timedelta(minutes=1)
    for study, until in (("soon", NOON), ("late", NOON + minute), ("never", None)):
        records.write(study, record(Kind.WAITING).model_copy(update={"until": until}))
    records.write("failed", record())
    assert records.wait_is_over(NOON - minute) == {"never"}
    assert records.wait_is_over(NOON) == {"soon", "never"}
    client.hashes.clear()
    assert records.wait_is_over(NOON) == set()
    for study in ("soon", "late", "never"):
        records.read(study)
    assert records.wait_is_over(NOON + minute) == {"soon", "late", "never"}
    records.write("soon", record(Kind.GRADED))
    del metadata["late"]
    records.refresh_indexes(FakeArchive())
    assert records.wait_is_over(NOON + minute) == {"never"}


def test_reading_updates_the_index(records, metadata, client):
    """If Redis lost its data or was unavailable, reading the metadata restores the index."""
    records.write("study", record())
    client.hashes.clear()
    assert not records.failures()
    assert records.read("study") == record()
    assert records.failures() == {"study": record()}
    for left in ("not ours", '{"kind": "of_another_version"}', None):
        records.write("study", record())
        metadata.write_metadata("study", left)
        assert records.read("study") is None
        assert records.failures() == {}


def test_records_do_not_need_redis(records, metadata, client):
    """Metadata are written and read; only reading the index fails."""
    client.away = True
    records.write("study", record())
    assert records.read("study") == record()
    records.delete("study")
    assert not metadata
    with pytest.raises(redis.RedisError):
        records.failures()


def test_a_deleted_record_leaves_nothing(records, metadata):
    """Neither metadata nor an index entry."""
    records.write("study", record())
    records.delete("study")
    assert records.read("study") is None
    assert not metadata
    assert not records.failures()


def test_a_dismissed_record_keeps_its_reason_and_is_not_listed(records):
    """The record keeps its details, and is final while the images stay the same."""
    records.write("study", record())
    records.dismiss("study", record())
    dismissed = records.read("study")
    assert dismissed == record(Kind.DISMISSED)
    assert dismissed.is_final(NOON)
    assert not records.failures()


def test_deleted_studies_are_removed_from_the_index(records, metadata):
    """Nothing else reads the record of a deleted study, so the index is checked."""
    for study in ("here", "deleted"):
        records.write(study, record())
    del metadata["deleted"]
    assert records.failures().keys() == {"here", "deleted"}
    records.refresh_indexes(FakeArchive())
    assert records.failures().keys() == {"here"}


@pytest.fixture
def records_in_redis(client):
    """Records whose metadata are not deleted with their studies."""
    return RecordStore(RedisMetadata(client, "q"), client, "q")


def test_records_in_redis_of_deleted_studies_are_deleted(records_in_redis):
    """A dead letter or a wait of which the archive holds no image leaves list and metadata."""
    records = records_in_redis
    kinds = {"here": Kind.FAILED, "broken": Kind.FAILED, "gone": Kind.FAILED, "waits": Kind.WAITING}
    for study, kind in kinds.items():
        records.write(study, record(kind))
    told = []
    records.refresh_indexes(FakeArchive(held=["here"]), lambda study, _: told.append(study))
    assert told == ["broken"]
    assert records.failures().keys() == {"here", "broken"}
    assert records.wait_is_over(NOON) == set()
    assert [records.read(study) for study in ("gone", "waits")] == [None, None]


@pytest.mark.parametrize("kind", Kind)
def test_all_records_in_redis_of_deleted_studies_are_deleted(records_in_redis, kind):
    """Records of every kind; studies that were just listed are not checked again."""
    records, archive = records_in_redis, FakeArchive(held=["new"])
    for study in ("listed", "new", "gone", "broken"):
        records.write(study, record(kind))
    records.remove_deleted(archive, {"listed"})
    assert sorted(archive.asked) == ["broken", "gone", "new"]
    assert records.read("gone") is None
    assert all(records.read(study) == record(kind) for study in ("listed", "new", "broken"))
    with pytest.raises(ArchiveUnavailable, match="away"):
        records.remove_deleted(FakeArchive(ArchiveUnavailable("away")), {"listed", "new"})


def test_metadata_in_the_archive_are_deleted_by_the_archive(records, metadata):
    """A study without MR images keeps its record as long as it exists."""
    records.write("CT", record())
    records.refresh_indexes(FakeArchive())
    records.remove_deleted(FakeArchive(), set())
    assert records.failures().keys() == {"CT"}


def test_a_record_that_cannot_be_read_does_not_block_others(records, metadata):
    """It stays in the index and is reported; if the archive is unavailable, that is the error."""
    for study in ("broken", "deleted"):
        records.write(study, record())
    del metadata["deleted"]
    error = ArchiveUnavailable("500")

    def read_metadata(study):
        if study == "broken":
            raise error
        return metadata.get(study)

    metadata.read_metadata = read_metadata
    told = []
    records.refresh_indexes(FakeArchive(), lambda *what: told.append(what))
    assert told == [("broken", error)]
    assert records.failures().keys() == {"broken"}
    with pytest.raises(ArchiveUnavailable, match="away"):
        records.refresh_indexes(FakeArchive(ArchiveUnavailable("away")))


def test_an_invalid_index_entry_is_ignored(records, client):
    """An entry of another version is not listed."""
    records.write("study", record())
    client.hset(INDEX, "strange", "{}")
    assert records.failures() == {"study": record()}
