"""The plugin's spool on its own: what waits for Redis outlives Orthanc, and a bad disk."""

import importlib.util
import resource
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deploy.demo import stack

SCRIPT = stack.PLUGIN.with_name("lumbar_spool.py")


@dataclass
class Spools:
    """Spools on one folder, one after the other as Orthanc is restarted, and what they logged."""

    folder: Path
    script: ModuleType
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / self.script.FILE

    def open(self, most: int = 1000) -> Any:
        """A spool that has read what the folder holds."""
        spool = self.script.Spool(
            self.folder, most, warn=self.warnings.append, error=self.errors.append
        )
        spool.accept([])
        return spool

    def on_disk(self) -> list[str]:
        """The studies of the file, as another program reads it."""
        with sqlite3.connect(self.file) as disk:
            return [study for (study,) in disk.execute("SELECT study FROM waiting ORDER BY place")]


@pytest.fixture
def spools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spools:
    """No spool yet; a failing disk is tried again at once."""
    spec = importlib.util.spec_from_file_location("lumbar_spool", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "RETRY_S", 0.0)
    return Spools(tmp_path / "database", script)


def sent_in_order(spool) -> list[str]:
    """Takes everything out as the sender does."""
    studies = []
    while entry := spool.oldest():
        studies.append(entry.study)
        spool.sent(entry)
    return studies


def many(count: int) -> list[str]:
    """As many studies, with names of the length of Orthanc's."""
    return [f"{number:044x}" for number in range(count)]


@contextmanager
def no_file_larger_than(size: int):
    """The kernel refuses what would make any file of this process larger (EFBIG)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_waits_outlives_the_process_with_its_order_and_messages(spools):
    """What was kept and not sent is there after a restart, in order; what was sent is not."""
    spool = spools.open()
    (a, *kept) = spool.accept(["a", "b"]) + spool.accept(["c"])
    spool.sent(a)
    again = spools.open()
    assert again.oldest() == kept[0]
    assert sent_in_order(again) == ["b", "c"]
    assert spools.on_disk() == []
    assert sent_in_order(spools.open()) == []


def test_a_study_stays_on_disk_until_it_was_sent(spools):
    """Looking at the study that has its turn takes nothing away."""
    spool = spools.open()
    spool.accept(["a"])
    assert spools.on_disk() == ["a"]
    entry = spool.oldest()
    assert spools.on_disk() == ["a"]
    spool.sent(entry)
    assert spools.on_disk() == []


@pytest.mark.parametrize("calls", [[["a", "b", "a"]], [["a", "b"], ["a"]]])
def test_a_study_that_waits_is_one_entry(spools, calls):
    """Twice stable is one message, at its later place, in memory as on disk."""
    spool = spools.open()
    for studies in calls:
        spool.accept(studies)
    assert len(spool) == 2
    assert spools.on_disk() == ["b", "a"]
    assert sent_in_order(spool) == ["b", "a"]


def test_a_study_that_becomes_stable_again_while_it_is_sent_is_sent_again(spools):
    """The worker may have looked at the study before its new images came."""
    spool = spools.open()
    spool.accept(["a"])
    on_its_way = spool.oldest()
    spool.accept(["a"])
    spool.sent(on_its_way)
    assert spool.oldest().study == "a"
    assert spool.oldest().message != on_its_way.message
    assert spools.on_disk() == ["a"]


def test_a_full_spool_refuses_the_newest_with_one_line(spools):
    """The bound holds, a study that waits may come again, and the log is not flooded."""
    spool = spools.open(most=3)
    assert [e.study for e in spool.accept(["a", "b", "c", "d"])] == ["a", "b", "c"]
    spool.accept(["e"])
    spool.accept(["b"])
    (line,) = spools.errors
    assert "study=d" in line
    assert "reconciler" in line
    assert sent_in_order(spool) == ["a", "c", "b"]
    assert spools.warnings == ["lumbar: the spool is empty again; it had refused 2"]
    spool.accept(["d", "e", "f", "g"])
    assert len(spools.errors) == 2


def test_a_file_size_limit_sends_studies_to_memory_and_back(spools):
    """What the disk does not take waits in memory in its place, and goes to disk when it can."""
    spool = spools.open()
    first, second = many(600)[:300], many(600)[300:]
    spool.accept(first)
    with no_file_larger_than(spools.file.stat().st_size):
        spool.accept(second)
        assert not spool.on_disk
        assert len(spool) == 600
        assert spools.on_disk() == first
        spool.sent(spool.oldest())
    (line,) = spools.errors
    assert "SQLITE_IOERR" in line
    assert "600 studies wait in memory" in line
    spool.accept([])
    assert spool.on_disk
    assert spools.on_disk() == (first + second)[1:]
    assert "is written again" in spools.warnings[0]
    assert spools.open().oldest() == spool.oldest()


def test_a_folder_that_cannot_be_made_is_no_reason_to_lose_studies(spools):
    """Without any disk they wait in memory; once there is one, on it."""
    spools.folder.write_text("a file where the folder should be")
    spool = spools.open()
    spool.accept(["a", "b"])
    assert len(spools.errors) == 1
    spools.folder.unlink()
    spool.accept(["c"])
    assert spools.on_disk() == ["a", "b", "c"]
    assert sent_in_order(spool) == ["a", "b", "c"]


def test_what_an_earlier_run_left_comes_first_however_late_it_can_be_read(spools):
    """A disk that comes back adds its studies before those that came meanwhile."""
    spools.open().accept(["a", "b"])
    hidden = spools.folder.rename(spools.folder.with_name("away"))
    spools.folder.write_text("no folder")
    spool = spools.open()
    spool.accept(["c", "a"])
    spools.folder.unlink()
    hidden.rename(spools.folder)
    spool.accept([])
    assert spools.on_disk() == ["b", "c", "a"]
    assert sent_in_order(spool) == ["b", "c", "a"]


@pytest.mark.parametrize("content", [b"no database " * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_corrupt_file_is_put_aside_at_the_start(spools, content):
    """Orthanc starts, a new file takes its place, and the old one is kept for who wants it."""
    spools.folder.mkdir()
    spools.file.write_bytes(content)
    spool = spools.open()
    spool.accept(["a"])
    assert spools.on_disk() == ["a"]
    assert (spools.folder / spools.script.UNREADABLE).read_bytes() == content
    (line,) = spools.errors
    assert "reconciler" in line


def test_a_table_of_another_kind_is_no_spool(spools):
    """A database with other columns is put aside like a damaged one."""
    spools.folder.mkdir()
    with sqlite3.connect(spools.file) as disk:
        disk.execute("CREATE TABLE waiting (something TEXT)")
    spool = spools.open()
    spool.accept(["a"])
    assert spools.on_disk() == ["a"]
    assert len(spools.errors) == 1


def test_a_file_that_is_damaged_while_orthanc_runs_loses_nothing(spools):
    """What waits is in memory too, and is written into the new file."""
    spool = spools.open()
    spool.accept(many(300))
    with spools.file.open("r+b") as file:
        file.write(b"\0" * spools.file.stat().st_size)
    spool.accept(["a"])
    assert len(spools.errors) == 1
    assert spools.on_disk() == [*many(300), "a"]


def test_a_file_that_is_deleted_while_orthanc_runs_is_made_again(spools):
    """An administrator's mistake costs nothing."""
    spool = spools.open()
    spool.accept(["a"])
    spools.file.unlink()
    spool.accept(["b"])
    spool.accept([])
    assert spools.on_disk() == ["a", "b"]


def test_another_programs_lock_only_delays_the_disk(spools, monkeypatch):
    """Who looks at the file for long stops nothing; afterwards it is brought up to date."""
    monkeypatch.setattr(spools.script, "BUSY_S", 0.01)
    spool = spools.open()
    spool.accept(["a"])
    with sqlite3.connect(spools.file) as other:
        other.execute("BEGIN EXCLUSIVE")
        spool.accept(["b"])
        assert "SQLITE_BUSY" in spools.errors[0]
        assert sent_in_order(spool) == ["a", "b"]
        spool.accept(["c"])
    spool.accept([])
    assert spools.on_disk() == ["c"]
