"""The Celery app, its settings with their reasons, and the worker that runs it."""

from __future__ import annotations

import os
import platform
from typing import Final

import structlog
from celery import Celery
from celery.signals import setup_logging, worker_process_init

from worker.errors import Misconfigured
from worker.service import tasks
from worker.service.logging import configure_logging
from worker.service.runtime import Runtime, StopNote, start_runtime
from worker.settings import Settings

_GRACE_S: Final = 60
_CHILD_START_S: Final = 300
_log = structlog.stdlib.get_logger(__name__)


class Child:
    """The runtime of this process, empty in the parent and until a child has started it."""

    def __init__(self, settings: Settings, note: StopNote) -> None:
        self._settings = settings
        self._note = note
        self._runtime: Runtime | None = None

    def start(self, **_: object) -> None:
        """Load everything once; a wrong installation stops the whole worker."""
        try:
            self._runtime = start_runtime(self._settings)
        except Misconfigured as error:
            _log.critical("the worker cannot start", reason=str(error), code=type(error).__name__)
            self._note.stop(error)

    def runtime(self) -> Runtime:
        """What was loaded; raise Misconfigured where it could not be."""
        if self._runtime is None:
            raise Misconfigured(self._note.read() or "the worker did not start; see its log")
        return self._runtime


def make_app(settings: Settings, child: Child, note: StopNote) -> Celery:
    """The app with its one task; connects to nothing yet."""
    app = Celery("lumbar", broker=settings.redis_url, set_as_current=False)
    app.conf.update(
        # No pickle, no results: the archive holds the result.
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_default_queue=settings.queue,
        # A message is acknowledged when its study is done; a killed child gives it back
        # (how often, service/deliveries.py limits).
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        task_time_limit=settings.time_limit_s,
        worker_soft_shutdown_timeout=_GRACE_S,
        worker_enable_soft_shutdown_on_idle=True,  # hands back messages that wait for a retry
        # torch and the weights take longer than Celery's four seconds.
        worker_proc_alive_timeout=_CHILD_START_S,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            # Above the longest that a message stays unacknowledged: running, or waiting
            # for its next try. Redis would give it to a second worker after that.
            "visibility_timeout": settings.time_limit_s + 2 * _GRACE_S + int(tasks.LONGEST_WAIT_S),
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
    )
    tasks.register(app, child.runtime, note).max_retries = settings.max_retries
    return app


def serve(settings: Settings) -> int:
    """Run the worker until it is told to stop; return its exit code.

    SIGTERM finishes the running study first. Raises Misconfigured, saying what to do, when
    the installation cannot work.
    """
    configure_logging(settings)
    note = StopNote()
    child = Child(settings, note)
    app = make_app(settings, child, note)
    # A receiver, whatever it does, keeps Celery from setting up logging on its own.
    setup_logging.connect(_logging_is_set_up)
    worker_process_init.connect(child.start)
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
    worker.start()
    if reason := note.read():
        raise Misconfigured(reason)
    return int(worker.exitcode or 0)


def _logging_is_set_up(**_: object) -> None:
    pass
