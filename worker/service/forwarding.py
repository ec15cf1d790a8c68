"""Reports forwarded from the archive to a modality or a DICOMweb server that it knows.

The child that stores a report schedules it here; a supervisor forwards it, so that an
unavailable destination delays no grading, and retries without limit. The record names the report
that was forwarded: if Redis loses its data, reconciliation schedules those that were not.
"""

from __future__ import annotations

from typing import Final

import redis
import structlog

from worker.archive import Forwards
from worker.errors import LumbarError, StudyGone
from worker.service.queue import backoff_s
from worker.service.record_store import RecordStore
from worker.service.records import Record
from worker.service.redis_keys import RedisKeys
from worker.service.schedule import Schedule, load_script, redis_time

_REQUESTS: Final = 6
"""Requests to the archive that forwarding one report takes at most."""
_BATCH: Final = 10

_log = structlog.stdlib.get_logger(__name__)


class Outbox:
    """The studies whose report is to be forwarded; methods may raise `redis.RedisError`."""

    def __init__(
        self, client: redis.Redis[bytes], queue: str, *, archive_timeout_s: float = 30.0
    ) -> None:
        self._redis = client
        keys = RedisKeys(queue)
        self._due = keys.forward_due
        self._schedule = Schedule(client, keys.forward_due, keys.forward_retries)
        self._postpone = load_script(client, "postpone_report")
        self._claim_s = _REQUESTS * archive_timeout_s

    def add(self, study: str, record: Record | None = None) -> None:
        """Schedule a study, due at once: without a record, its report is a new one.

        With a record it is scheduled unless its report was forwarded, and an earlier schedule
        stays as it is.
        """
        if record is None:
            self._redis.zadd(self._due, {study: 0.0})
        elif _is_unsent(record):
            self._redis.zadd(self._due, {study: 0.0}, nx=True)

    def size(self) -> int:
        """How many reports wait."""
        return self._redis.zcard(self._due)

    def forward_due(self, archive: Forwards, records: RecordStore, destination: str) -> None:
        """Forward the reports that are due; retry failures later, without limit.

        Of several callers one forwards each report. One that dies meanwhile leaves it to the
        others.
        """
        for claim in self._schedule.claim_due(self._claim_s, limit=_BATCH):
            study, retries = claim.study, int(claim.value or 0)
            log = _log.bind(study=study, destination=destination, attempts=retries + 1)
            delay_s = backoff_s(retries)
            try:
                done = _forward(study, archive, records, destination, log)
            except StudyGone as error:
                log.warning("report not forwarded", reason=str(error))
                done = True
            except LumbarError as error:
                log.warning("forwarding postponed", reason=str(error), delay_s=round(delay_s, 1))
                done = False
            if done:
                self._schedule.settle(claim)
            else:
                due = redis_time(self._redis) + delay_s
                self._postpone(keys=self._schedule.keys, args=(study, claim.expires, due))


def _forward(
    study: str,
    archive: Forwards,
    records: RecordStore,
    destination: str,
    log: structlog.stdlib.BoundLogger,
) -> bool:
    """Forward a study's report if that was not done; whether nothing is left to be forwarded."""
    record = records.read(study)
    if record is None or not _is_unsent(record):
        return True
    archive.forward(study, str(record.report), destination)
    log.info("report forwarded", report=record.report)
    # Read again: a worker may have written another record meanwhile.
    newest = records.read(study)
    if newest is not None and newest.report == record.report:
        newest = newest.model_copy(update={"forwarded": record.report})
        records.write(study, newest)
    return newest is None or not _is_unsent(newest)


def _is_unsent(record: Record) -> bool:
    """Whether there is a report that was not forwarded."""
    return record.report is not None and record.forwarded != record.report
