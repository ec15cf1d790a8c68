"""The records of all studies, durable outside Redis: metadata of the study in its archive.

Redis keeps an index of dead letters, and one of studies that wait for missing series. Reading a
record updates both, so that reconciliation restores them if Redis loses its data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from datetime import datetime

import redis
import structlog
from pydantic import ValidationError

from worker.archive import SearchableArchive, StoresMetadata
from worker.errors import LumbarError, Misconfigured
from worker.service.records import Kind, Record
from worker.service.redis_keys import RedisKeys

_log = structlog.stdlib.get_logger(__name__)


def log_skipped(study: str, error: LumbarError) -> None:
    """Log that a study was skipped, and why."""
    _log.warning("study skipped", study=study, reason=str(error), code=type(error).__name__)


def skip_study(
    archive: SearchableArchive,
    study: str,
    error: LumbarError,
    on_skipped: Callable[[str, LumbarError], None] = log_skipped,
) -> None:
    """Skip a study after an error that concerns it alone, so that it does not block others.

    Raises any other error: `error` itself if it is Misconfigured, or what `archive.check` raises.
    """
    if isinstance(error, Misconfigured):
        raise error
    archive.check()
    on_skipped(study, error)


class RedisMetadata:
    """Metadata in Redis's append-only file, for archives that store none.

    They outlive their studies, until `RecordStore` removes those.
    """

    def __init__(self, client: redis.Redis[bytes], queue: str) -> None:
        self._redis = client
        self._key = RedisKeys(queue).records

    def read_metadata(self, study: str) -> str | None:
        """The text, or None."""
        text = self._redis.hget(self._key, study)
        return None if text is None else text.decode()

    def write_metadata(self, study: str, text: str | None) -> None:
        """Store a text; None deletes it."""
        if text is None:
            self._redis.hdel(self._key, study)
        else:
            self._redis.hset(self._key, study, text)

    def studies(self) -> set[str]:
        """The studies with metadata; raise `redis.RedisError`."""
        return {study.decode() for study in self._redis.hkeys(self._key)}


class RecordStore:
    """Reads and writes records, and keeps the indexes.

    Methods raise what the metadata raise; an index that is unavailable stops nothing.
    """

    def __init__(self, metadata: StoresMetadata, client: redis.Redis[bytes], queue: str) -> None:
        self._metadata = metadata
        self._redis = client
        keys = RedisKeys(queue)
        self._failures = keys.failures
        self._incomplete = keys.incomplete

    def read(self, study: str) -> Record | None:
        """The study's record; None if there is none, or a text that is no record."""
        record = _parse(self._metadata.read_metadata(study))
        self._update_indexes(study, record)
        return record

    def write(self, study: str, record: Record) -> None:
        """Replace the study's record."""
        self._metadata.write_metadata(study, record.model_dump_json(exclude_none=True))
        self._update_indexes(study, record)

    def delete(self, study: str) -> None:
        """Delete the study's record: the study counts as new."""
        self._metadata.write_metadata(study, None)
        self._update_indexes(study, None)

    def dismiss(self, study: str, record: Record) -> None:
        """Dismiss a dead letter: it is not graded while its images stay the same."""
        self.write(study, record.model_copy(update={"kind": Kind.DISMISSED}))

    def failures(self) -> Mapping[str, Record]:
        """The dead letters by study, from the index; raise `redis.RedisError`."""
        return self._index(self._failures)

    def failure_count(self) -> int:
        """How many dead letters the index holds; raise `redis.RedisError`."""
        return self._redis.hlen(self._failures)

    def wait_is_over(self, now: datetime) -> set[str]:
        """The studies that have waited long enough for missing series, from the index.

        Raises `redis.RedisError`.
        """
        waiting = self._index(self._incomplete).items()
        return {study for study, record in waiting if not record.is_final(now)}

    def refresh_indexes(
        self,
        archive: SearchableArchive,
        on_skipped: Callable[[str, LumbarError], None] = log_skipped,
    ) -> None:
        """Read the record of every study in the indexes, and remove deleted studies.

        Raises `redis.RedisError`, and what `skip_study` raises.
        """
        indexed = {*self._redis.hkeys(self._failures), *self._redis.hkeys(self._incomplete)}
        studies = {study.decode() for study in indexed}
        self.refresh(studies, archive, on_skipped)
        self._remove_deleted(studies, archive, on_skipped)

    def refresh(
        self,
        studies: Iterable[str],
        archive: SearchableArchive,
        on_skipped: Callable[[str, LumbarError], None] = log_skipped,
    ) -> None:
        """Read the records of these studies, which updates the indexes.

        Raises what `refresh_indexes` raises.
        """
        for study in studies:
            try:
                self.read(study)
            except LumbarError as error:
                skip_study(archive, study, error, on_skipped)

    def remove_deleted(self, archive: SearchableArchive, listed: Set[str]) -> None:
        """Delete the records of studies that the archive no longer holds.

        `listed` are studies that it holds. Raises what `refresh_indexes` raises.
        """
        if isinstance(self._metadata, RedisMetadata):
            self._remove_deleted(self._metadata.studies() - listed, archive, log_skipped)

    def _remove_deleted(
        self,
        studies: Set[str],
        archive: SearchableArchive,
        on_skipped: Callable[[str, LumbarError], None],
    ) -> None:
        """Delete the records of studies without images.

        Only for metadata in Redis: an archive deletes those of a study together with it.
        """
        if not isinstance(self._metadata, RedisMetadata):
            return
        for study in studies:
            try:
                if not archive.inventory(study):
                    self.delete(study)
            except LumbarError as error:
                skip_study(archive, study, error, on_skipped)

    def _index(self, key: str) -> dict[str, Record]:
        records = {s.decode(): _parse(text) for s, text in self._redis.hgetall(key).items()}
        return {study: record for study, record in records.items() if record is not None}

    def _update_indexes(self, study: str, record: Record | None) -> None:
        try:
            for key, kind in ((self._failures, Kind.FAILED), (self._incomplete, Kind.WAITING)):
                if record is not None and record.kind is kind:
                    self._redis.hset(key, study, record.model_dump_json())
                else:
                    self._redis.hdel(key, study)
        except redis.RedisError:
            pass  # reconciliation reads every record and updates the indexes


def _parse(text: str | bytes | None) -> Record | None:
    try:
        return None if text is None else Record.model_validate_json(text)
    except ValidationError:
        return None
