"""What the supervisor of a worker does: retries, recovery, reconciliation, forwarding.

Every second it sends the jobs that are due and the studies of workers that died; every minute it
reconciles the archive with the records.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

import redis
import structlog
from redis.exceptions import LockError
from redis.lock import Lock

from worker.archive import Forwards, StudyEntry
from worker.service.active_models import ActiveModels
from worker.service.archives import open_archive
from worker.service.broker import CHILD_START_S, make_app, open_redis
from worker.service.events import RETRIED, MetricEvent
from worker.service.forwarding import Outbox
from worker.service.jobs import GradeJob, InvalidJob, Priority
from worker.service.leases import Leases
from worker.service.metrics import SUCCESSES, QueueState
from worker.service.queue import Queue
from worker.service.reconciling import PendingStudy, Reconciler
from worker.service.records import now
from worker.service.redis_keys import RedisKeys
from worker.service.runtime import open_records
from worker.settings import Settings

_MAX_TICK_S: Final = 60.0
_IDLE_S: Final = 60.0
"""A ready child takes a waiting study at once."""
_RECENT: Final = timedelta(days=1)
"""A study that changed this recently was missed just now; an older one is backlog."""

_log = structlog.stdlib.get_logger(__name__)


class Supervisor:
    """The supervisor's tasks; `supervisor_process` calls each of them repeatedly."""

    def __init__(self, settings: Settings, models: str = "") -> None:
        client = open_redis(settings)
        self._settings = settings
        self._queue = Queue(make_app(settings), client, settings.queue)
        self._leases = Leases(client, settings.queue)
        self._models = ActiveModels(client, settings.queue)
        self._bundle_sha256 = models
        self._archive = open_archive(settings)
        self._records = open_records(self._archive, client, settings)
        self._reconciler = Reconciler(self._archive, self._records)
        self._turn = _ReconcileTurn(client, settings)
        self._outbox = Outbox(client, settings.queue, archive_timeout_s=settings.orthanc_timeout_s)
        self._started_at = self._ticked_at = self._empty_at = time.monotonic()
        self._unclaimed_since: float | None = None
        self._last_event_at: dict[int, float] = {}

    def tick(self) -> None:
        """Send the jobs that are due, and the studies of workers that died."""
        self._ticked_at = time.monotonic()
        unclaimed_since, self._unclaimed_since = self._unclaimed_since, None
        if self._bundle_sha256:
            self._models.announce(self._bundle_sha256)
        for job, message in self._queue.send_due():
            _log.info("retry", study=job.study, message=message, retries=job.retries)
        for text in self._leases.abandoned():
            try:
                job = GradeJob.from_json(text)
            except InvalidJob as error:
                _log.error("malformed job dropped", reason=str(error))
                continue
            message = self._queue.send(job)
            _log.warning("worker died, study sent again", study=job.study, message=message)
        if any(self._queue.depth().values()) and not self._leases.running():
            self._unclaimed_since = unclaimed_since or time.monotonic()

    def unclaimed_s(self) -> float:
        """For how long studies have waited while no worker graded one."""
        return time.monotonic() - self._unclaimed_since if self._unclaimed_since else 0.0

    def is_stuck(self) -> bool:
        """Whether studies wait although a child of this worker is idle.

        After an outage of Redis, Celery was seen to take a message and to pass it to no child. A
        child that still loads its models has reported nothing yet: it gets more time.
        """
        now, unclaimed_s = time.monotonic(), self.unclaimed_s()
        idle = False
        for pid, last_event_at in tuple(self._last_event_at.items()):
            if _is_alive(pid):
                idle |= now - last_event_at > _IDLE_S
            else:
                del self._last_event_at[pid]
        timeout_s = 2 * self._settings.stall_timeout_s
        if not self._last_event_at:
            timeout_s = max(timeout_s, CHILD_START_S)
        silent_s = now - max(self._last_event_at.values(), default=self._started_at)
        stalled = unclaimed_s > timeout_s and silent_s > timeout_s
        return stalled or (unclaimed_s > _IDLE_S and idle)

    def reconcile(self) -> None:
        """Send every study that needs grading, and delete the records of deleted studies.

        One supervisor does this at a time, unless a single study takes it longer than a whole
        period; a second one then does no harm.
        """
        if not self._turn.begin():
            return
        listed: set[str] = set()

        def on_study(entry: StudyEntry) -> None:
            self._turn.extend()
            listed.add(entry.study)

        self._records.refresh_indexes(self._archive)
        pending = self._reconciler.pending(
            since=now() - timedelta(days=self._settings.reconcile_days),
            quiet=timedelta(seconds=self._settings.reconcile_s),
            on_study=on_study,
            on_settled=self._outbox.add if self._settings.forward else lambda *_: None,
        )
        for one in pending:
            if one.study in self._leases.running():
                continue  # its record is written when it is done
            job = GradeJob(one.study, priority=priority_of(one))
            if message := self._queue.send_if_absent(job):
                _log.info("reconciled", study=one.study, message=message, reason=one.reason)
        self._records.remove_deleted(self._archive, listed)

    def forward(self) -> None:
        """Forward the reports that are due."""
        destination = self._settings.forward
        if destination and isinstance(self._archive, Forwards):
            self._outbox.forward_due(self._archive, self._records, destination)

    def is_ticking(self) -> bool:
        """Whether `tick` is called, and returns."""
        return time.monotonic() - self._ticked_at < _MAX_TICK_S

    def queue_state(self) -> QueueState:
        """The current state of the queue; raise `redis.RedisError`."""
        depth = self._queue.depth()
        ended_s, succeeded_s = self._queue.seconds_since_end()
        running = len(self._leases.running())
        if not any(depth.values()) and not running:
            self._empty_at = time.monotonic()
        return QueueState(
            depth=depth,
            oldest_s=self._queue.oldest_age_s(),
            scheduled=len(self._queue.scheduled()),
            running=running,
            dead_letters=self._records.failure_count(),
            busy_s=time.monotonic() - self._empty_at,
            ended_s=ended_s,
            succeeded_s=succeeded_s,
            to_forward=self._outbox.size() if self._settings.forward else None,
        )

    def record(self, event: MetricEvent) -> None:
        """Note that a child is alive, and for all workers, when a study ended."""
        self._last_event_at[event.process] = time.monotonic()
        self._bundle_sha256 = event.bundle_sha256 or self._bundle_sha256
        if event.outcome in ("", RETRIED):
            return
        try:
            self._queue.record_end(success=event.outcome in SUCCESSES)
        except redis.RedisError as error:
            _log.warning("Redis unavailable", error=type(error).__name__)


class _ReconcileTurn:
    """The lock of the one supervisor that reconciles; it expires and is never released.

    So no supervisor begins again before most of a period is over.
    """

    def __init__(self, client: redis.Redis[bytes], settings: Settings) -> None:
        self._timeout_s = max(0.001, settings.reconcile_s * 0.9)
        key = RedisKeys(settings.queue).reconcile_lock
        self._lock = Lock(client, key, timeout=self._timeout_s, thread_local=False)
        self._extended_at = 0.0

    def begin(self) -> bool:
        """Take the lock; whether this supervisor has it."""
        self._extended_at = time.monotonic()
        return bool(self._lock.acquire(blocking=False))

    def extend(self) -> None:
        """Keep the lock longer: call this more often than it expires."""
        if (time.monotonic() - self._extended_at) * 3 > self._timeout_s:
            self._extended_at = time.monotonic()
            with suppress(LockError):  # it expired meanwhile
                self._lock.reacquire()


def priority_of(pending: PendingStudy) -> Priority:
    """Studies that were missed just now go before old ones."""
    recent = pending.changed is not None and now() - pending.changed < _RECENT
    return Priority.RECENT if recent else Priority.BACKLOG


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
