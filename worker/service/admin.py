"""What the administrator's commands work with: the archive, its records and the queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import redis

from worker.archive import SearchableArchive
from worker.errors import QueueUnavailable
from worker.service.active_models import ActiveModels
from worker.service.archives import open_archive
from worker.service.broker import make_app, open_redis
from worker.service.jobs import GradeJob, Priority
from worker.service.leases import Leases
from worker.service.queue import Queue
from worker.service.record_store import RecordStore
from worker.service.records import Record
from worker.service.runtime import open_records
from worker.settings import Settings


@dataclass(frozen=True, eq=False)
class Installation:
    """The service of one installation, seen from outside its workers."""

    archive: SearchableArchive
    records: RecordStore
    queue: Queue
    leases: Leases
    models: ActiveModels

    def replay(self, study: str, record: Record, priority: Priority) -> None:
        """Delete the record of a study that was not graded and send the study again.

        If it cannot be sent, the record is restored.
        """
        # In this order: a worker that found the record would skip the study.
        self.records.delete(study)
        try:
            self.queue.send(GradeJob(study, priority=priority))
        except redis.RedisError:
            self.records.write(study, record)
            raise


@contextmanager
def open_installation(settings: Settings) -> Iterator[Installation]:
    """Open the installation; within the body Redis's errors become QueueUnavailable."""
    client = open_redis(settings)
    with client, open_archive(settings) as archive:
        try:
            yield Installation(
                archive=archive,
                records=open_records(archive, client, settings),
                queue=Queue(make_app(settings), client, settings.queue),
                leases=Leases(client, settings.queue),
                models=ActiveModels(client, settings.queue),
            )
        except redis.RedisError as error:
            # Without the user and password that the URL may hold.
            address = urlsplit(settings.redis_url).netloc.rpartition("@")[2]
            raise QueueUnavailable(
                f"Redis at {address} is not available ({type(error).__name__}); check "
                "LUMBAR_REDIS_URL"
            ) from error
