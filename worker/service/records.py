"""What became of each study, durable outside Redis: a note beside the study in its archive.

The archive is the judge of what is done; the note says which images the judgement is about,
and holds what no report can: why there is none. Redis keeps an index of the studies that
were given up, and one of those that wait for missing series; reading a record mends both, so
that the reconciler writes them anew after Redis was wiped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

import redis
import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from worker import __version__
from worker.errors import LumbarError, Misconfigured

if TYPE_CHECKING:
    from worker.archive import Archive, Hospital

_log = structlog.stdlib.get_logger(__name__)


class Outcome(StrEnum):
    """How the grading of a study ended when it ended well."""

    GRADED = "graded"
    NOTHING_NEW = "nothing_new"
    WAITING = "waiting"
    """Series are missing, and the site's policy is to wait for them."""
    LEFT = "left"
    """A record says why there will be no report, and nothing has changed since."""


class Kind(StrEnum):
    """How it ended."""

    GRADED = "graded"
    REJECTED = "rejected"
    """It will never be graded as it is; `reason` says why."""
    FAILED = "failed"
    """A dead letter: given up; `lumbar failures` shows and replays it."""
    DISMISSED = "dismissed"
    """A dead letter that a person put aside: it stays ungraded and is listed no more."""
    WAITING = "waiting"
    """Series are missing; it is looked at again at `until`, or when they come."""


class Record(BaseModel):
    """The outcome of one study.

    `sources` is the fingerprint of the images it is about, `bundle` the SHA-256 of the models,
    `report` the SOP Instance UID of the Structured Report, `delivered` that of the report that
    was sent on, `tries` counts from 1.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Kind
    sources: str
    bundle: str
    time: datetime
    report: str | None = None
    code: str = ""
    reason: str = ""
    step: str = ""
    tries: int = 1
    until: datetime | None = None
    delivered: str | None = None
    software: str = __version__

    def about(self, sources: str, bundle: str | None = None) -> bool:
        """Whether it speaks of these images, and of these models where they are asked for."""
        return self.sources == sources and bundle in (None, self.bundle)

    def stands(self, now: datetime) -> bool:
        """Whether nothing is to be done while the images stay the same."""
        return self.kind is not Kind.WAITING or (self.until is not None and now < self.until)

    def report_is_in(self, archive: Archive, study: str) -> bool:
        """Whether the report, if there is one, was not deleted since."""
        return self.report is None or archive.stored(study, self.report) is not None


def sources_of(inventory: Iterable[str]) -> str:
    """The fingerprint of what `Hospital.inventory` lists; order and repetition do not matter."""
    return sha256("\n".join(sorted(set(inventory))).encode()).hexdigest()


def now() -> datetime:
    """The time as records write it: UTC, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def warn_of(study: str, error: LumbarError) -> None:
    """Log that a study was passed over, and why."""
    _log.warning("passed over", study=study, reason=str(error), code=type(error).__name__)


def pass_over(
    archive: Hospital,
    study: str,
    error: LumbarError,
    passed_over: Callable[[str, LumbarError], None] = warn_of,
) -> None:
    """Say that a study is passed over, lest it hold up those behind it.

    Raises where it is not about this study alone: the error itself if it is Misconfigured, or
    what the archive says of itself.
    """
    if isinstance(error, Misconfigured):
        raise error
    archive.check()
    passed_over(study, error)


class Notes(Protocol):
    """A text kept with each study."""

    def note(self, study: str) -> str | None:
        """The text, or None."""

    def write_note(self, study: str, text: str | None) -> None:
        """Keep a text, or take it away."""


class RedisNotes:
    """Notes in Redis's append-only file, for archives that have no place for them.

    They outlive their studies there, until `Records` forgets those.
    """

    def __init__(self, client: redis.Redis[bytes], queue: str) -> None:
        self._redis = client
        self._key = f"{queue}:notes"

    def note(self, study: str) -> str | None:
        """The text, or None."""
        found = self._redis.hget(self._key, study)
        return None if found is None else found.decode()

    def write_note(self, study: str, text: str | None) -> None:
        """Keep a text, or take it away."""
        if text is None:
            self._redis.hdel(self._key, study)
        else:
            self._redis.hset(self._key, study, text)

    def studies(self) -> set[str]:
        """The studies with a note; raise `redis.RedisError`."""
        return {study.decode() for study in self._redis.hkeys(self._key)}


class Records:
    """The records of all studies, and the indexes of those that were given up or wait.

    Methods raise what the notes raise; the indexes being away stops nothing.
    """

    def __init__(self, notes: Notes, client: redis.Redis[bytes], queue: str) -> None:
        self._notes = notes
        self._redis = client
        self._index = f"{queue}:failures"
        self._waiting = f"{queue}:incomplete"

    def read(self, study: str) -> Record | None:
        """The study's record; None where there is none or what is there is not ours."""
        record = _record_in(self._notes.note(study))
        self._enter(study, record)
        return record

    def write(self, study: str, record: Record) -> None:
        """Keep a record in place of the one before."""
        self._notes.write_note(study, record.model_dump_json(exclude_none=True))
        self._enter(study, record)

    def forget(self, study: str) -> None:
        """Take the record away: the study counts as never seen."""
        self._notes.write_note(study, None)
        self._enter(study, None)

    def dismiss(self, study: str, record: Record) -> None:
        """Put a dead letter aside: while its images stay the same nothing is done about it."""
        self.write(study, record.model_copy(update={"kind": Kind.DISMISSED}))

    def failures(self) -> Mapping[str, Record]:
        """The studies that were given up, by name, as the index has them.

        Raises `redis.RedisError`.
        """
        return self._listed(self._index)

    def waited(self, now: datetime) -> set[str]:
        """The studies that have waited long enough for missing series, as the index has them.

        Raises `redis.RedisError`.
        """
        waiting = self._listed(self._waiting).items()
        return {study for study, record in waiting if not record.stands(now)}

    def recheck(
        self, archive: Hospital, passed_over: Callable[[str, LumbarError], None] = warn_of
    ) -> None:
        """Forget the studies in the indexes that were deleted from the archive.

        Raises `redis.RedisError`, and what `pass_over` raises.
        """
        indexed = {*self._redis.hkeys(self._index), *self._redis.hkeys(self._waiting)}
        studies = {study.decode() for study in indexed}
        self.reread(studies, archive, passed_over)
        self._forget_deleted(studies, archive, passed_over)

    def reread(
        self,
        studies: Iterable[str],
        archive: Hospital,
        passed_over: Callable[[str, LumbarError], None] = warn_of,
    ) -> None:
        """Read the records of these studies, which mends the indexes; raise as `recheck` does."""
        for study in studies:
            try:
                self.read(study)
            except LumbarError as error:
                pass_over(archive, study, error, passed_over)

    def forget_deleted(self, archive: Hospital, held: Set[str]) -> None:
        """Forget the studies that were deleted from the archive, which was seen to hold these.

        Raises as `recheck` does.
        """
        if isinstance(self._notes, RedisNotes):
            self._forget_deleted(self._notes.studies() - held, archive, warn_of)

    def _forget_deleted(
        self,
        studies: Set[str],
        archive: Hospital,
        passed_over: Callable[[str, LumbarError], None],
    ) -> None:
        """Forget those of which the archive holds no image.

        Only where notes outlive their studies; elsewhere they have gone with them.
        """
        if not isinstance(self._notes, RedisNotes):
            return
        for study in studies:
            try:
                if not archive.inventory(study):
                    self.forget(study)
            except LumbarError as error:
                pass_over(archive, study, error, passed_over)

    def dead_letters(self) -> int:
        """How many studies were given up; raise `redis.RedisError`."""
        return self._redis.hlen(self._index)

    def _listed(self, index: str) -> dict[str, Record]:
        found = {s.decode(): _record_in(text) for s, text in self._redis.hgetall(index).items()}
        return {study: record for study, record in found.items() if record is not None}

    def _enter(self, study: str, record: Record | None) -> None:
        """Keep the indexes as the record is."""
        try:
            for index, kind in ((self._index, Kind.FAILED), (self._waiting, Kind.WAITING)):
                if record is not None and record.kind is kind:
                    self._redis.hset(index, study, record.model_dump_json())
                else:
                    self._redis.hdel(index, study)
        except redis.RedisError:
            pass  # the reconciler reads every record and mends the indexes


def _record_in(text: str | bytes | None) -> Record | None:
    try:
        return None if text is None else Record.model_validate_json(text)
    except ValidationError:
        return None
