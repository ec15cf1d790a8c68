"""What an administrator's commands work with: the archive, its records and the queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import redis

from worker.archive.dicomweb import DicomwebArchive
from worker.archive.orthanc import OrthancArchive
from worker.errors import QueueUnavailable
from worker.service.active_models import Announcements
from worker.service.archives import open_archive
from worker.service.broker import make_app, open_redis
from worker.service.leases import Leases
from worker.service.queue import Order, Priority, Queue
from worker.service.records import Record, Records
from worker.service.runtime import open_records
from worker.settings import Settings


@dataclass(frozen=True, eq=False)
class Desk:
    """The service of one installation, from outside its workers."""

    archive: OrthancArchive | DicomwebArchive
    records: Records
    queue: Queue
    leases: Leases
    models: Announcements

    def replay(self, study: str, record: Record, priority: Priority) -> None:
        """Forget why a study was not graded and send it again, both or neither."""
        # In this order: a worker that found the record would leave the study alone.
        self.records.forget(study)
        try:
            self.queue.send(Order(study, priority=priority))
        except redis.RedisError:
            self.records.write(study, record)
            raise


@contextmanager
def open_desk(settings: Settings) -> Iterator[Desk]:
    """Open what the settings name; within the body Redis's errors become QueueUnavailable."""
    client = open_redis(settings)
    with client, open_archive(settings) as archive:
        try:
            yield Desk(
                archive=archive,
                records=open_records(archive, client, settings),
                queue=Queue(make_app(settings), client, settings.queue),
                leases=Leases(client, settings.queue),
                models=Announcements(client, settings.queue),
            )
        except redis.RedisError as error:
            # Without the user and password that the address may hold.
            address = urlsplit(settings.redis_url).netloc.rpartition("@")[2]
            raise QueueUnavailable(
                f"Redis at {address} does not answer ({type(error).__name__}); look at "
                "LUMBAR_REDIS_URL"
            ) from error
