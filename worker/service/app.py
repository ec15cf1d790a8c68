"""The worker: a parent that consumes the queue, its children that grade, and its supervisor."""

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
from worker.service.events import MetricChannel
from worker.service.leases import Leases
from worker.service.logging import configure_logging
from worker.service.runtime import (
    Runtime,
    SharedText,
    StopRequest,
    import_libraries,
    open_attempts,
    start_runtime,
)
from worker.service.supervisor_process import run_supervisor
from worker.settings import Settings

_log = structlog.stdlib.get_logger(__name__)


class ChildRuntime:
    """The runtime of this process; a child loads it once, the parent never does."""

    def __init__(
        self,
        settings: Settings,
        stop_request: StopRequest,
        channel: MetricChannel,
        models: SharedText,
    ) -> None:
        self._settings = settings
        self._stop_request = stop_request
        self._channel = channel
        self._models = models
        self._runtime: Runtime | None = None

    def start(self, **_: object) -> None:
        """Load everything; a wrong installation stops the whole worker."""
        try:
            self._runtime = start_runtime(self._settings, make_app(self._settings), self._channel)
        except Misconfigured as error:
            _log.critical("the worker cannot start", reason=str(error), code=type(error).__name__)
            self._stop_request.send(error)
        else:
            self._models.write(self._runtime.grading.bundle.identity.sha256)
        # Celery logs any other error, and the first study stops the worker: see `get`.

    def get(self) -> Runtime:
        """What was loaded; raise Misconfigured if it could not be."""
        if self._runtime is None:
            raise Misconfigured(
                self._stop_request.reason() or "the worker did not start; see its log"
            )
        return self._runtime


def serve(settings: Settings) -> int:
    """Run the worker until it receives SIGTERM; return its exit code.

    SIGTERM finishes the running study, or returns it to the queue after LUMBAR_STOP_S. Raises
    Misconfigured, which says what to do, if the installation cannot work.
    """
    configure_logging(settings)
    stop_request, channel, models = StopRequest(), MetricChannel(), SharedText()
    child = ChildRuntime(settings, stop_request, channel, models)
    app = make_app(settings)
    client = open_redis(settings)
    attempts = open_attempts(settings, client)
    tasks.register(app, child.get, stop_request, attempts, Leases(client, settings.queue))
    # Any receiver keeps Celery from configuring logging itself.
    setup_logging.connect(_logging_is_configured)
    worker_process_init.connect(child.start)
    worker_shutting_down.connect(partial(_kill_children_after, settings.stop_s), weak=False)
    import_libraries()
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
    supervisor = threading.Thread(
        target=run_supervisor, args=(stopped, channel, models), name="supervisor"
    )
    supervisor.start()
    try:
        worker.start()
    finally:
        stopped.set()
        supervisor.join()
    if reason := stop_request.reason():
        raise Misconfigured(reason)
    return int(worker.exitcode or 0)


def _kill_children_after(wait_s: float, **_: object) -> None:
    """Kill the children that are still running a while after SIGTERM.

    Their studies return to the queue like those of any child that was killed.
    """

    def kill_children() -> None:
        for child in billiard.active_children():
            _log.warning("stop timeout reached, study returned to the queue", seconds=wait_s)
            os.kill(child.pid, signal.SIGKILL)

    timer = threading.Timer(wait_s, kill_children)
    timer.daemon = True
    timer.start()


def _logging_is_configured(**_: object) -> None:
    pass
