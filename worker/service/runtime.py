"""What one child process holds: the bundle, the archive, and a way to stop the worker.

The parent imports this module and must stay without torch: torch loaded before a fork can
hang the child. So whatever needs torch is imported where a child starts.
"""

from __future__ import annotations

import mmap
import os
import signal
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import redis
import structlog
from billiard import current_process

from worker.archive.dicomweb import DicomwebArchive
from worker.archive.orthanc import OrthancArchive
from worker.errors import ArchiveUnavailable, Misconfigured
from worker.service.archives import open_archive
from worker.service.attempts import Deliveries
from worker.service.broker import open_redis
from worker.service.events import Teller, Wire
from worker.service.forwarding import Outbox
from worker.service.leases import Leases
from worker.service.queue import Queue
from worker.service.records import Notes, Records, RedisNotes
from worker.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

    from worker.service.grading import Grading

_NOTE_BYTES: Final = 2048
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class Runtime:
    """What a task needs, made once in each child."""

    grading: Grading
    deliveries: Deliveries
    leases: Leases
    queue: Queue
    max_retries: int
    time_limit_s: float
    outbox: Outbox | None = None
    teller: Teller = field(default_factory=Teller)


def start_runtime(settings: Settings, app: Celery, wire: Wire) -> Runtime:
    """Load rules and models, look at the archive; raise Misconfigured where one cannot work.

    An archive that is away is no reason to stop: studies wait for it.
    """
    from worker.approaches import load_bundle
    from worker.intake.site import load_site_rules
    from worker.models.device import device_of
    from worker.recognise.recogniser import packaged
    from worker.service.grading import Grading, Policy

    packaged()  # now, not at the first series that it is asked about
    site = load_site_rules(Path(settings.site_rules)) if settings.site_rules else ()
    device = device_of(settings.device, getattr(current_process(), "index", 0))
    bundle = load_bundle(Path(settings.bundle) if settings.bundle else None, device)
    archive = open_archive(settings)
    try:
        found = archive.check()
    except ArchiveUnavailable as error:
        _log.warning("archive away", reason=str(error))
    else:
        _log.info("archive found", archive=found)
    client = open_redis(settings)
    _log.info("bundle loaded", bundle=bundle.identity.name, version=bundle.identity.version)
    teller = Teller(wire, bundle)
    teller.introduce()
    return Runtime(
        grading=Grading(
            archive=archive,
            bundle=bundle,
            records=open_records(archive, client, settings),
            site=site,
            policy=Policy(
                settings.incomplete,
                timedelta(seconds=settings.incomplete_wait_s),
                settings.min_age,
            ),
            told=teller.graded,
        ),
        deliveries=open_deliveries(settings, client),
        leases=Leases(client, settings.queue),
        queue=Queue(app, client, settings.queue),
        max_retries=settings.max_retries,
        time_limit_s=settings.time_limit_s,
        outbox=Outbox(client, settings.queue) if settings.forward else None,
        teller=teller,
    )


def open_deliveries(settings: Settings, client: redis.Redis[bytes]) -> Deliveries:
    """The counts of tries that ended their process."""
    return Deliveries(client, settings.queue, most=settings.max_deliveries)


def open_records(
    archive: OrthancArchive | DicomwebArchive, client: redis.Redis[bytes], settings: Settings
) -> Records:
    """The records, beside the studies where the archive has a place for them, else in Redis."""
    notes: Notes = RedisNotes(client, settings.queue)
    if isinstance(archive, OrthancArchive):
        notes = archive
    return Records(notes, client, settings.queue)


class StopNote:
    """A note that a child leaves to its parent: stop, and say why.

    Made before the fork; the memory is shared.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _NOTE_BYTES)
        self._parent = os.getpid()

    def stop(self, error: Misconfigured) -> None:
        """Leave the note and ask the parent to finish what runs and stop."""
        text = f"{type(error).__name__}: {error}".encode()[: _NOTE_BYTES - 1]
        self._memory[: len(text) + 1] = text + b"\0"
        os.kill(self._parent, signal.SIGTERM)

    def read(self) -> str:
        """What was noted; empty where nothing was."""
        return self._memory[:].split(b"\0", 1)[0].decode(errors="ignore")
