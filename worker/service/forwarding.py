"""Reports sent on from the archive, to a modality or a DICOMweb server that Orthanc knows.

Whoever writes a report notes the study here; the keeper sends, so that a destination that is
away holds up no grading, and tries again without end. The record says which report arrived:
after Redis was wiped the reconciler finds those that did not.
"""

from __future__ import annotations

from typing import Final

import redis
import structlog

from worker.archive.orthanc import OrthancArchive
from worker.errors import LumbarError, StudyGone
from worker.service.queue import SETTLE, wait_s
from worker.service.records import Record, Records

_ANSWERS: Final = 6
"""So many answers of the archive sending one report takes."""

_log = structlog.stdlib.get_logger(__name__)

# KEYS: the sorted set of when, the hash of tries. ARGV: study, now, the end of the claim.
_CLAIM: Final = """
local due = redis.call('zscore', KEYS[1], ARGV[1])
if not due or tonumber(due) > tonumber(ARGV[2]) then return false end
redis.call('zadd', KEYS[1], ARGV[3], ARGV[1])
return tonumber(redis.call('hget', KEYS[2], ARGV[1]) or '0')
"""
# ARGV[4]: when it is due again.
_PUT_OFF: Final = """
local due = redis.call('zscore', KEYS[1], ARGV[1])
if not due or tonumber(due) ~= tonumber(ARGV[3]) then return 0 end
redis.call('zadd', KEYS[1], ARGV[4], ARGV[1])
return redis.call('hincrby', KEYS[2], ARGV[1], 1)
"""


class Outbox:
    """The studies whose report waits to be sent on; methods may raise `redis.RedisError`."""

    def __init__(
        self, client: redis.Redis[bytes], queue: str, *, archive_timeout_s: float = 30.0
    ) -> None:
        self._redis = client
        self._due, self._tries = f"{queue}:onward", f"{queue}:onward:tries"
        self._sending_s = _ANSWERS * archive_timeout_s
        self._claim, self._settle, self._put_off = map(
            client.register_script, (_CLAIM, SETTLE, _PUT_OFF)
        )

    def add(self, study: str, record: Record | None = None) -> None:
        """Note a study, whose report is a new one where no record is given: it is due at once.

        With a record it is noted unless its report has arrived, and what waits already goes on
        waiting.
        """
        if record is None:
            self._redis.zadd(self._due, {study: 0.0})
        elif _owed(record):
            self._redis.zadd(self._due, {study: 0.0}, nx=True)

    def waiting(self) -> int:
        """How many reports wait."""
        return self._redis.zcard(self._due)

    def send_due(self, archive: OrthancArchive, records: Records, destination: str) -> None:
        """Send what is due; what does not arrive is put off, longer each time, and never given up.

        Of several callers one sends each report. One that dies meanwhile leaves it to the
        others for later.
        """
        for study in self._redis.zrangebyscore(self._due, 0, self._now(), start=0, num=10):
            now = self._now()
            claim: tuple[bytes | float, ...] = (study, now, now + self._sending_s)
            tries = self._claim(keys=(self._due, self._tries), args=claim)
            if not isinstance(tries, int):
                continue
            log = _log.bind(study=study.decode(), destination=destination, tries=tries + 1)
            wait = wait_s(tries)
            try:
                done = _send(study.decode(), archive, records, destination, log)
            except StudyGone as error:
                log.warning("not sent on", reason=str(error))
                done = True
            except LumbarError as error:
                log.warning("not sent on yet", reason=str(error), wait_s=round(wait, 1))
                done = False
            if done:
                self._settle(keys=(self._due, self._tries), args=claim)
            else:
                words = (*claim, self._now() + wait)
                self._put_off(keys=(self._due, self._tries), args=words)

    def _now(self) -> float:
        seconds, microseconds = self._redis.time()
        return float(seconds + microseconds / 1e6)


def _send(
    study: str,
    archive: OrthancArchive,
    records: Records,
    destination: str,
    log: structlog.stdlib.BoundLogger,
) -> bool:
    """Send a study's report if it is owed; whether there is nothing more to be sent."""
    record = records.read(study)
    if record is None or not _owed(record):
        return True
    archive.forward(study, str(record.report), destination)
    log.info("sent on", report=record.report)
    # Read again: a worker may have written another record while this was sent.
    newest = records.read(study)
    if newest is not None and newest.report == record.report:
        newest = newest.model_copy(update={"delivered": record.report})
        records.write(study, newest)
    return newest is None or not _owed(newest)


def _owed(record: Record) -> bool:
    """Whether there is a report that has not arrived."""
    return record.report is not None and record.delivered != record.report
