"""The keeper: a process beside each worker that lets nothing be forgotten.

Every second it sends what has waited for its next try and what a dead worker left behind;
every minute it reconciles the archive. It is a process of its own, and not messages of
Celery beat, because those would wait behind the study that is being graded, and because it
must work while the worker's connection to Redis does not.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

import redis
import structlog

from worker.approaches import read_identity
from worker.archive import HeldStudy
from worker.archive.orthanc import OrthancArchive
from worker.errors import LumbarError
from worker.service.active_models import Announcements
from worker.service.archives import open_archive
from worker.service.broker import make_app, open_redis
from worker.service.events import RETRIED, News, Wire, hear
from worker.service.forwarding import Outbox
from worker.service.health import Health, Look, serve_health
from worker.service.leases import Leases
from worker.service.logging import configure_logging
from worker.service.metrics import SUCCESSES, QueueState
from worker.service.queue import Order, Priority, Queue
from worker.service.reconciling import Owed, Reconciler
from worker.service.records import now
from worker.service.runtime import open_records
from worker.settings import Settings

TICK_S: Final = 1.0
_LONGEST_TICK_S: Final = 60.0
_LOOK_TIMEOUT_S: Final = 5.0
_IDLE_S: Final = 60.0
"""A child that is ready takes a study that waits at once."""
_FRESH: Final = timedelta(days=1)
"""What changed this recently was missed just now; what changed before is a backlog."""

_log = structlog.stdlib.get_logger(__name__)


class Keeper:
    """What the process does, and how often."""

    def __init__(self, settings: Settings) -> None:
        client = open_redis(settings)
        self._settings = settings
        self._redis = client
        self._queue = Queue(make_app(settings), client, settings.queue)
        self._leases = Leases(client, settings.queue)
        self._models = Announcements(client, settings.queue)
        self._bundle = read_identity(Path(settings.bundle) if settings.bundle else None)
        self._archive = open_archive(settings)
        self._records = open_records(self._archive, client, settings)
        self._reconciler = Reconciler(self._archive, self._records)
        self._outbox = Outbox(client, settings.queue, archive_timeout_s=settings.orthanc_timeout_s)
        self._ticked = self._idle_at = time.monotonic()
        self._left_since: float | None = None
        self._heard: dict[int, float] = {}

    def tick(self) -> None:
        """Send what has waited long enough, and what a dead worker left behind."""
        self._ticked = time.monotonic()
        left_since, self._left_since = self._left_since, None
        self._models.say(self._bundle.sha256)
        for order, message in self._queue.send_due():
            _log.info("tried again", study=order.study, message=message, tries=order.tries)
        for words in self._leases.abandoned():
            order = Order.parse(words)
            message = self._queue.send(order)
            _log.warning("a worker died", study=order.study, message=message)
        if any(self._queue.depth().values()) and not self._leases.running():
            self._left_since = left_since or time.monotonic()

    def left_s(self) -> float:
        """For how long studies have waited while no worker had one in hand."""
        return time.monotonic() - self._left_since if self._left_since else 0.0

    def stuck(self) -> bool:
        """Whether studies wait that nobody takes, though a child of this worker could.

        Celery has been seen to take a message after Redis was away, and to give it to no child
        ever after.
        """
        now, left_s = time.monotonic(), self.left_s()
        idle = False
        for pid, heard in tuple(self._heard.items()):
            if _lives(pid):
                idle |= now - heard > _IDLE_S
            else:
                del self._heard[pid]
        return left_s > 2 * self._settings.patience_s or (left_s > _IDLE_S and idle)

    def reconcile(self) -> None:
        """Send every study that is owed a grading, and forget those that were deleted.

        One keeper of all does this at a time, as long as no single study takes it longer than
        a whole period; then a second one may begin, which does no harm.
        """
        every_s = self._settings.reconcile_s
        turn = _Turn(self._redis, f"{self._settings.queue}:reconciling", every_s * 0.9)
        if not turn.taken():
            return
        held: set[str] = set()

        def looked(one: HeldStudy) -> None:
            turn.keep()
            held.add(one.study)

        self._records.recheck(self._archive)
        owed = self._reconciler.owed(
            since=now() - timedelta(days=self._settings.reconcile_days),
            quiet=timedelta(seconds=every_s),
            looked=looked,
            settled=self._outbox.add if self._settings.forward else lambda *_: None,
        )
        for one in owed:
            if one.study in self._leases.running():
                continue  # it is known of when it is done
            if message := self._queue.send_once(Order(one.study, priority=priority_of(one))):
                _log.info("reconciled", study=one.study, message=message, reason=one.why)
        self._records.forget_deleted(self._archive, held)

    def ticks(self) -> bool:
        """Whether `tick` is called, and comes to its end."""
        return time.monotonic() - self._ticked < _LONGEST_TICK_S

    def look(self) -> QueueState:
        """The queue as it is now; raise `redis.RedisError`."""
        depth, (ended_s, succeeded_s) = self._queue.depth(), self._queue.ended_s()
        running = len(self._leases.running())
        if not any(depth.values()) and not running:
            self._idle_at = time.monotonic()
        return QueueState(
            depth=depth,
            oldest_s=self._queue.oldest_s(),
            later=len(self._queue.waiting()),
            running=running,
            dead_letters=self._records.dead_letters(),
            busy_s=time.monotonic() - self._idle_at,
            ended_s=ended_s,
            succeeded_s=succeeded_s,
            onward=self._outbox.waiting() if self._settings.forward else None,
        )

    def take(self, news: News) -> None:
        """A child told how a study ended: the whole queue is to know when that was."""
        self._heard[news.process] = time.monotonic()
        if news.outcome in ("", RETRIED):
            return
        try:
            self._queue.ended(well=news.outcome in SUCCESSES)
        except redis.RedisError as error:
            _log.warning("Redis is away", error=type(error).__name__)

    def deliver(self) -> None:
        """Send on the reports that are due."""
        destination = self._settings.forward
        if destination and isinstance(self._archive, OrthancArchive):
            self._outbox.send_due(self._archive, self._records, destination)


class _Turn:
    """A mark in Redis of the one who does something now, or did within a while."""

    def __init__(self, client: redis.Redis[bytes], mark: str, while_s: float) -> None:
        self._redis = client
        self._mark = mark
        self._while_ms = max(1, int(while_s * 1000))
        self._kept = 0.0

    def taken(self) -> bool:
        """Whether it is ours now."""
        self._kept = time.monotonic()
        return bool(self._redis.set(self._mark, "", nx=True, px=self._while_ms))

    def keep(self) -> None:
        """Ours for longer: call this more often than it runs out."""
        if (time.monotonic() - self._kept) * 3000 > self._while_ms:
            self._kept = time.monotonic()
            self._redis.set(self._mark, "", px=self._while_ms)


def priority_of(owed: Owed) -> Priority:
    """What was missed just now goes before what was never looked at."""
    fresh = owed.changed is not None and now() - owed.changed < _FRESH
    return Priority.AGAIN if fresh else Priority.BACKLOG


def keep(settings: Settings, news: int | None = None) -> None:
    """Keep watch until the parent process, or a thread of our own, has gone.

    `news` is the file descriptor of what the children tell. The parent ends the work in order;
    whatever tells a whole group of processes to stop is left to it. Raises Misconfigured when
    the settings cannot work.
    """
    configure_logging(settings)
    for ignored in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ignored, signal.SIG_IGN)
    parent = os.getppid()
    keeper = Keeper(settings)
    threads = [
        threading.Thread(target=_for_ever, args=(work, every_s), name=name, daemon=True)
        for name, work, every_s in (
            ("the reconciler", keeper.reconcile, settings.reconcile_s),
            ("the deliverer", keeper.deliver, TICK_S),
        )
    ]
    living = {
        "the worker": lambda: os.getppid() == parent,
        "the keeper's round": keeper.ticks,
    }
    for thread in threads:
        thread.start()
        living[thread.name] = thread.is_alive
    _tell_health(keeper, settings, living, news)
    while os.getppid() == parent and all(thread.is_alive() for thread in threads):
        time.sleep(TICK_S)
        _try(keeper.tick)
        if keeper.stuck():
            _end(parent, settings.stop_s)


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _end(worker: int, patience_s: float) -> None:
    """End a worker that takes no studies, for its service manager to start it anew."""
    _log.critical("studies wait and nobody takes them: the worker ends, to be started anew")
    os.kill(worker, signal.SIGQUIT)
    deadline = time.monotonic() + patience_s
    while os.getppid() == worker and time.monotonic() < deadline:
        time.sleep(TICK_S)
    if os.getppid() == worker:
        os.kill(worker, signal.SIGKILL)


def watch(stopped: threading.Event, wire: Wire) -> None:
    """Run the keeper as a child, and a new one should it die, until `stopped`."""
    news = wire.keepers_end
    command = [sys.executable, "-m", "worker.cli", "keep", "--news", str(news)]
    while not stopped.is_set():
        child = subprocess.Popen(command, pass_fds=(news,))
        while child.poll() is None and not stopped.wait(TICK_S):
            pass
        if not stopped.is_set():
            _log.error("the keeper ended", code=child.returncode)
            stopped.wait(TICK_S)
    with suppress(ProcessLookupError):
        child.kill()


def _tell_health(
    keeper: Keeper,
    settings: Settings,
    living: dict[str, Callable[[], bool]],
    news: int | None,
) -> None:
    archive = open_archive(settings, timeout_s=_LOOK_TIMEOUT_S)
    queue = Look("Redis", keeper.look)
    health = Health(queue, Look("the archive", archive.check), living, settings.patience_s)
    if news is not None:
        listening = threading.Thread(
            target=_listen, args=(socket.socket(fileno=news), keeper, health), daemon=True
        )
        listening.start()
        living["whoever listens to the children"] = listening.is_alive
    if settings.health_port:
        health.start()
        serve_health(health, settings.health_host, settings.health_port)


def _listen(listening: socket.socket, keeper: Keeper, health: Health) -> None:
    while True:
        if (news := hear(listening)) is not None:
            health.metrics.take(news)
            keeper.take(news)


def _for_ever(work: Callable[[], None], every_s: float) -> None:
    while True:
        _try(work)
        time.sleep(every_s)


def _try(work: Callable[[], None]) -> None:
    """Do it, or say why not: what is away comes back."""
    try:
        work()
    except LumbarError as error:
        name = type(error).__name__
        _log.warning("put off", work=work.__name__, error=name, reason=str(error))
    except redis.RedisError as error:
        _log.warning("put off", work=work.__name__, error=type(error).__name__)
