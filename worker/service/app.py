"""The worker: a parent that consumes the queue, its children that grade, and its keeper."""

from __future__ import annotations

import os
import platform
import signal
import threading
from functools import partial

import billiard
import structlog
from celery.signals import setup_logging, worker_process_init, worker_shutting_down

from worker.errors import Misconfigured
from worker.service import tasks
from worker.service.broker import make_app, open_redis
from worker.service.events import Wire
from worker.service.leases import Leases
from worker.service.logging import configure_logging
from worker.service.runtime import Runtime, StopNote, open_deliveries, start_runtime
from worker.service.supervisor import watch
from worker.settings import Settings

_log = structlog.stdlib.get_logger(__name__)


class Child:
    """The runtime of this process, empty in the parent and until a child has started it."""

    def __init__(self, settings: Settings, note: StopNote, wire: Wire) -> None:
        self._settings = settings
        self._note = note
        self._wire = wire
        self._runtime: Runtime | None = None

    def start(self, **_: object) -> None:
        """Load everything once; a wrong installation stops the whole worker."""
        try:
            self._runtime = start_runtime(self._settings, make_app(self._settings), self._wire)
        except Misconfigured as error:
            _log.critical("the worker cannot start", reason=str(error), code=type(error).__name__)
            self._note.stop(error)
        except Exception as error:
            # Celery would go on without a word; the first study stops the worker.
            _log.critical("the worker cannot start", code=type(error).__name__, exc_info=error)
            raise

    def runtime(self) -> Runtime:
        """What was loaded; raise Misconfigured where it could not be."""
        if self._runtime is None:
            raise Misconfigured(self._note.read() or "the worker did not start; see its log")
        return self._runtime


def serve(settings: Settings) -> int:
    """Run the worker until it is told to stop; return its exit code.

    SIGTERM finishes the running study first, or hands it back after LUMBAR_STOP_S. Raises
    Misconfigured, saying what to do, when the installation cannot work.
    """
    configure_logging(settings)
    note, wire = StopNote(), Wire()
    child = Child(settings, note, wire)
    app = make_app(settings)
    client = open_redis(settings)
    deliveries = open_deliveries(settings, client)
    tasks.register(app, child.runtime, note, deliveries, Leases(client, settings.queue))
    # A receiver, whatever it does, keeps Celery from setting up logging on its own.
    setup_logging.connect(_logging_is_set_up)
    worker_process_init.connect(child.start)
    worker_shutting_down.connect(partial(_hand_back_after, settings.stop_s), weak=False)
    worker = app.Worker(
        hostname=f"lumbar-{os.getpid()}@{platform.node()}",
        pool="prefork",
        concurrency=settings.concurrency,
        queues=[settings.queue],
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    _log.info("worker starts", queue=settings.queue, processes=settings.concurrency)
    stopped = threading.Event()
    keeper = threading.Thread(target=watch, args=(stopped, wire), name="keeper")
    keeper.start()
    try:
        worker.start()
    finally:
        stopped.set()
        keeper.join()
    if reason := note.read():
        raise Misconfigured(reason)
    return int(worker.exitcode or 0)


def _hand_back_after(wait_s: float, **_: object) -> None:
    """End what still runs a while after the worker was told to stop.

    The studies go back to the queue as those of any child that was killed.
    """

    def hand_back() -> None:
        for child in billiard.active_children():
            _log.warning("not done in time, handed back", seconds=wait_s)
            os.kill(child.pid, signal.SIGKILL)

    timer = threading.Timer(wait_s, hand_back)
    timer.daemon = True
    timer.start()


def _logging_is_set_up(**_: object) -> None:
    pass
