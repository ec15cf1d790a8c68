"""What one child process needs: the models, the archive, and a way to stop the worker.

Modules that need torch are imported by `import_libraries`, not with this module: commands that
only read the queue start in a fifth of the time.
"""

from __future__ import annotations

import importlib
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

from worker.archive import SearchableArchive, StoresMetadata
from worker.errors import ArchiveUnavailable, Misconfigured
from worker.service.archives import open_archive
from worker.service.attempts import Attempts
from worker.service.broker import open_redis
from worker.service.events import MetricChannel, MetricRecorder
from worker.service.forwarding import Outbox
from worker.service.leases import Leases
from worker.service.queue import Queue
from worker.service.record_store import RecordStore, RedisMetadata
from worker.settings import Settings
from worker.threads import threads_per_process

if TYPE_CHECKING:
    from celery import Celery

    from worker.service.grading import Grading

_TEXT_BYTES: Final = 2048
_LIBRARIES: Final = ("worker.approaches", "worker.recognise.recogniser", "worker.service.grading")
_log = structlog.stdlib.get_logger(__name__)


def import_libraries() -> None:
    """Import torch and all that a child needs, before the children are forked.

    They share these pages, and one that replaces a dead child is ready within a second instead
    of five. An import computes nothing: it starts no thread and touches no GPU, either of which
    a fork would break. The models are loaded by the children.
    """
    for name in _LIBRARIES:
        importlib.import_module(name)


@dataclass(frozen=True, eq=False)
class Runtime:
    """What the task needs, made once in each child."""

    grading: Grading
    attempts: Attempts
    leases: Leases
    queue: Queue
    max_retries: int
    time_limit_s: float
    outbox: Outbox | None = None
    recorder: MetricRecorder = field(default_factory=MetricRecorder)


def start_runtime(settings: Settings, app: Celery, channel: MetricChannel) -> Runtime:
    """Load rules and models and check the archive; raise Misconfigured if one cannot work.

    An unavailable archive does not stop the worker: studies wait for it.
    """
    import torch

    from worker.approaches import load_bundle
    from worker.intake.site import load_site_rules
    from worker.models.device import device_of
    from worker.recognise.recogniser import packaged
    from worker.service.grading import Grading, Policy

    threads = threads_per_process(settings.concurrency, settings.threads)
    if threads is not None:
        torch.set_num_threads(threads)
    packaged()  # loads it now, not with the first series that needs it
    site = load_site_rules(Path(settings.site_rules)) if settings.site_rules else ()
    device = device_of(settings.device, getattr(current_process(), "index", 0))
    bundle = load_bundle(Path(settings.bundle) if settings.bundle else None, device)
    archive = open_archive(settings)
    try:
        server = archive.check()
    except ArchiveUnavailable as error:
        _log.warning("archive unavailable", reason=str(error))
    else:
        _log.info("archive available", archive=server)
    client = open_redis(settings)
    _log.info("bundle loaded", bundle=bundle.identity.name, version=bundle.identity.version)
    recorder = MetricRecorder(channel, bundle)
    recorder.ready()
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
            on_graded=recorder.graded,
        ),
        attempts=open_attempts(settings, client),
        leases=Leases(client, settings.queue),
        queue=Queue(app, client, settings.queue),
        max_retries=settings.max_retries,
        time_limit_s=settings.time_limit_s,
        outbox=Outbox(client, settings.queue) if settings.forward else None,
        recorder=recorder,
    )


def open_attempts(settings: Settings, client: redis.Redis[bytes]) -> Attempts:
    """The counts of attempts that killed their process."""
    return Attempts(client, settings.queue, limit=settings.max_attempts)


def open_records(
    archive: SearchableArchive, client: redis.Redis[bytes], settings: Settings
) -> RecordStore:
    """The records: metadata of the studies if the archive stores them, else in Redis."""
    metadata: StoresMetadata = RedisMetadata(client, settings.queue)
    if isinstance(archive, StoresMetadata):
        metadata = archive
    return RecordStore(metadata, client, settings.queue)


class SharedText:
    """A text that a child writes and its parent reads; made before the fork."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _TEXT_BYTES)

    def write(self, text: str) -> None:
        """Replace the text; what is too long is cut."""
        content = text.encode()[: _TEXT_BYTES - 1]
        self._memory[: len(content) + 1] = content + b"\0"

    def read(self) -> str:
        """The text; empty if none was written."""
        return self._memory[:].split(b"\0", 1)[0].decode(errors="ignore")


class StopRequest:
    """A child's request that its parent stops the worker, with the reason."""

    def __init__(self) -> None:
        self._reason = SharedText()
        self._parent = os.getpid()

    def send(self, error: Misconfigured) -> None:
        """Write the reason and send the parent SIGTERM: it finishes running studies and stops."""
        self._reason.write(f"{type(error).__name__}: {error}")
        os.kill(self._parent, signal.SIGTERM)

    def reason(self) -> str:
        """The reason; empty if no child requested a stop."""
        return self._reason.read()
