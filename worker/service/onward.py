"""Reports sent on from the archive, to a modality or a DICOMweb server that Orthanc knows.

Whoever writes a report notes the study here; the keeper sends, so that a destination that is
away holds up no grading, and tries again without end. The record says which report arrived:
after Redis was wiped the reconciler finds those that did not.
"""

from __future__ import annotations

import json
from typing import Final

import redis
import structlog

from worker.archive.orthanc import OrthancArchive
from worker.errors import BadSettings, StudyGone, Transient
from worker.service.queue import wait_s
from worker.service.records import Record, Records

_SENDING_S: Final = 120.0
"""For so long no other keeper sends the same report."""

_log = structlog.stdlib.get_logger(__name__)


class Outbox:
    """The studies whose report waits to be sent on; methods may raise `redis.RedisError`."""

    def __init__(self, client: redis.Redis[bytes], queue: str) -> None:
        self._redis = client
        self._key = f"{queue}:onward"

    def add(self, study: str, record: Record | None = None) -> None:
        """Note a study; nothing where its record says that its report has arrived."""
        if record is None or (record.report and record.delivered != record.report):
            self._redis.zadd(self._key, {_entry(study, 0): 0.0}, nx=True)

    def waiting(self) -> int:
        """How many reports wait."""
        return self._redis.zcard(self._key)

    def send_due(self, archive: OrthancArchive, records: Records, destination: str) -> None:
        """Send what is due; what does not arrive is put off, longer each time.

        Raises `ArchiveUnavailable` only when the record cannot be read or written.
        """
        for entry in self._redis.zrangebyscore(self._key, 0, self._now(), start=0, num=10):
            study, tries = json.loads(entry)
            # Taken before it is sent: a keeper that dies meanwhile leaves it for later.
            self._redis.zadd(self._key, {entry: self._now() + _SENDING_S})
            record = records.read(study)
            try:
                if record is not None and record.report and record.delivered != record.report:
                    archive.forward(study, record.report, destination)
                    records.write(study, record.model_copy(update={"delivered": record.report}))
                    _log.info("sent on", study=study, destination=destination, tries=tries + 1)
            except StudyGone as error:
                _log.warning("not sent on", study=study, reason=str(error))
            except (Transient, BadSettings) as error:
                wait = wait_s(tries)
                _log.warning(
                    "not sent on yet",
                    study=study,
                    reason=str(error),
                    tries=tries + 1,
                    wait_s=round(wait, 1),
                )
                self._redis.zadd(self._key, {_entry(study, tries + 1): self._now() + wait})
            self._redis.zrem(self._key, entry)

    def _now(self) -> float:
        seconds, microseconds = self._redis.time()
        return float(seconds + microseconds / 1e6)


def _entry(study: str, tries: int) -> str:
    return json.dumps([study, tries])
