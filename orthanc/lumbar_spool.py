# SPDX-License-Identifier: AGPL-3.0-or-later
# Copyright the Orthanc Lumbar authors. Part of lumbar_plugin.py, which see.
"""The studies that wait for Redis: in memory in their order, and on disk until it took them.

The disk's copy is one SQLite file, because that writes all of a change or nothing, and brings
an unfinished one back in order after SIGKILL or a power cut. It is a copy: while the disk is
full, away or broken the studies wait in memory alone, and once it works again the whole file
is written anew. Only what Orthanc was killed with in such a time is lost; the reconciler of
Orthanc Lumbar finds it. A study that was sent and could not be struck off is sent again after
a restart: at least once, never not at all.
"""

import collections
import pathlib
import sqlite3
import threading
import time
import typing
import uuid

FILE = "lumbar-spool.db"
UNREADABLE = "lumbar-spool.db.unreadable"
RETRY_S = 5.0
BUSY_S = 1.0
# Of SQLite's errors, those that say "this is no spool": damaged, another format, another table.
# All others say that the disk does not do what it should.
NO_SPOOL = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
TABLE = """CREATE TABLE IF NOT EXISTS waiting
           (place INTEGER PRIMARY KEY, study TEXT NOT NULL, message TEXT NOT NULL UNIQUE)"""
FAILURES = (sqlite3.Error, OSError)
INSERT = "INSERT INTO waiting (study, message) VALUES (?, ?)"

Log = typing.Callable[[str], None]


class Waiting(typing.NamedTuple):
    """A study by Orthanc's id, and the id of the message that will announce it."""

    study: str
    message: str


class Spool:
    """At most `most` studies in the order of their arrival, each once; for several threads.

    The first `accept` opens the file, and every other mends what was wrong with it meanwhile;
    call it now and then.
    """

    def __init__(self, folder: pathlib.Path, most: int, *, warn: Log, error: Log) -> None:
        self.path = folder / FILE
        self._most = most
        self._warn, self._error = warn, error
        self._lock = threading.Lock()
        self._waiting: collections.OrderedDict[str, str] = collections.OrderedDict()
        self._refused = 0
        self._disk: sqlite3.Connection | None = None
        self._taken_over = False  # what an earlier run left on the disk is in memory
        self._complained = False
        self._next_try = 0.0

    @property
    def on_disk(self) -> bool:
        """Whether the disk holds what waits, as far as is known."""
        return self._disk is not None

    def __len__(self) -> int:
        """How many studies wait."""
        return len(self._waiting)

    def accept(self, studies: list[str]) -> list[Waiting]:
        """Keep studies and return what was kept; on disk by then, where the disk works.

        One that waits already takes the later place, with a new message: the one before may
        be on its way, and would announce less than there is now.
        """
        with self._lock:
            replaced, kept = [], []
            for study in studies:
                if study in self._waiting:
                    replaced.append(Waiting(study, self._waiting.pop(study)))
                elif len(self._waiting) >= self._most:
                    self._refuse(study)
                    continue
                kept.append(Waiting(study, str(uuid.uuid4())))
                self._waiting[study] = kept[-1].message
            self._write(kept, replaced)
            return kept

    def oldest(self) -> Waiting | None:
        """The study that has its turn; it stays until it was sent."""
        with self._lock:
            return next((Waiting(*item) for item in self._waiting.items()), None)

    def sent(self, entry: Waiting) -> None:
        """Strike off what Redis has taken."""
        with self._lock:
            if self._waiting.get(entry.study) == entry.message:
                del self._waiting[entry.study]
            self._write([], [entry])
            if self._refused and not self._waiting:
                self._warn(f"lumbar: the spool is empty again; it had refused {self._refused}")
                self._refused = 0

    def _refuse(self, study: str) -> None:
        if not self._refused:
            self._error(
                f"lumbar: {self._most} studies wait already: study={study} and what comes after "
                "it is not announced; the reconciler will find it"
            )
        self._refused += 1

    def _write(self, kept: list[Waiting], gone: list[Waiting]) -> None:
        """Bring the disk up to date; what fails waits in memory for a later try."""
        try:
            if self._disk is not None:
                with self._disk as disk:
                    disk.executemany(INSERT, kept)
                    disk.executemany(
                        "DELETE FROM waiting WHERE message = ?", [(e.message,) for e in gone]
                    )
            elif time.monotonic() >= self._next_try:
                self._open()
        except FAILURES as failure:
            self._close()
            self._mend(failure)

    def _open(self) -> None:
        """Open the file, take over what an earlier run left in it, and write what differs."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._disk = sqlite3.connect(self.path, timeout=BUSY_S, check_same_thread=False)
        with self._disk as disk:
            disk.execute("PRAGMA synchronous = EXTRA")  # a power cut takes back nothing
            disk.execute(TABLE)
            rows = disk.execute("SELECT study, message FROM waiting ORDER BY place").fetchall()
            if not self._taken_over:
                newer, self._waiting = self._waiting, collections.OrderedDict(rows)
                self._taken_over = True
                for study, message in newer.items():
                    self._waiting.pop(study, None)
                    self._waiting[study] = message
            if rows != list(self._waiting.items()):
                disk.execute("DELETE FROM waiting")
                disk.executemany(INSERT, self._waiting.items())
        if self._complained:
            self._warn(f"lumbar: {self.path} is written again; {len(self)} studies wait")
            self._complained = False

    def _close(self) -> None:
        if self._disk is not None:
            self._disk.close()
            self._disk = None

    def _mend(self, failure: Exception) -> None:
        """Begin a new file where the old is no spool; else go on in memory for a while."""
        if isinstance(failure, sqlite3.Error) and _says_no_spool(failure):
            try:
                self._set_aside(failure)
                self._open()
            except FAILURES as another:
                self._close()
                failure = another
            else:
                return
        self._next_try = time.monotonic() + RETRY_S
        if not self._complained:
            self._error(
                f"lumbar: {self.path} cannot be written ({_name(failure)}); {len(self)} studies "
                "wait in memory until it can"
            )
            self._complained = True

    def _set_aside(self, failure: Exception) -> None:
        """Put the file out of the way, in place of an earlier such one."""
        self.path.replace(self.path.with_name(UNREADABLE))
        self._taken_over = True
        self._error(
            f"lumbar: {self.path} was no spool ({_name(failure)}) and is now {UNREADABLE}; a "
            "study that only it held is not announced; the reconciler will find it"
        )


def _says_no_spool(failure: sqlite3.Error) -> bool:
    code = getattr(failure, "sqlite_errorcode", None)
    return code is None or code & 0xFF in NO_SPOOL


def _name(failure: Exception) -> str:
    return getattr(failure, "sqlite_errorname", type(failure).__name__)
