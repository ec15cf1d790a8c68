"""The supervisor's process, one beside each worker.

It is a process of its own, not messages of Celery beat, because those would wait behind the
study that is being graded, and because it must work while the worker's connection to Redis does
not.
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
from typing import Final

import redis
import structlog

from worker.errors import LumbarError
from worker.service.archives import open_archive
from worker.service.events import MetricChannel, receive
from worker.service.health import Health, Probe, serve_health
from worker.service.logging import configure_logging
from worker.service.runtime import SharedText
from worker.service.supervisor import Supervisor
from worker.settings import Settings

TICK_S: Final = 1.0
_PROBE_TIMEOUT_S: Final = 5.0

_log = structlog.stdlib.get_logger(__name__)


def run_supervisor(stopped: threading.Event, channel: MetricChannel, models: SharedText) -> None:
    """Run the supervisor as a child process, and start another if it dies, until `stopped`.

    `models` is the SHA-256 of the children's bundle, once one of them has loaded it.
    """
    fd = channel.receiver_fd
    command = [sys.executable, "-m", "worker.cli", "supervise", "--metrics-fd", str(fd)]
    while not stopped.is_set():
        child = subprocess.Popen([*command, "--models", models.read()], pass_fds=(fd,))
        while child.poll() is None and not stopped.wait(TICK_S):
            pass
        if not stopped.is_set():
            _log.error("supervisor exited, starting another", code=child.returncode)
            stopped.wait(TICK_S)
    with suppress(ProcessLookupError):
        child.kill()


def supervise(settings: Settings, metrics_fd: int | None = None, models: str = "") -> None:
    """Supervise the parent process until it exits, or a thread of this process does.

    `metrics_fd` is the file descriptor of the children's metric events, `models` the SHA-256 of
    their bundle if it is known already. Signals that stop a process group are ignored: the
    parent ends this process. Raises Misconfigured if the settings cannot work.
    """
    configure_logging(settings)
    for ignored in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ignored, signal.SIG_IGN)
    parent = os.getppid()
    supervisor = Supervisor(settings, models)
    threads = [
        threading.Thread(target=_repeat, args=(task, every_s), name=name, daemon=True)
        for name, task, every_s in (
            ("reconciler", supervisor.reconcile, settings.reconcile_s),
            ("forwarder", supervisor.forward, TICK_S),
        )
    ]
    parts: dict[str, Callable[[], bool]] = {
        "worker": lambda: os.getppid() == parent,
        "supervisor": supervisor.is_ticking,
    }
    for thread in threads:
        thread.start()
        parts[thread.name] = thread.is_alive
    _start_health(supervisor, settings, parts, metrics_fd)
    while os.getppid() == parent and all(thread.is_alive() for thread in threads):
        time.sleep(TICK_S)
        _run(supervisor.tick)
        if supervisor.is_stuck():
            _stop_worker(parent, settings.stop_s)


def _stop_worker(worker: int, timeout_s: float) -> None:
    """Stop a worker that takes no studies, so that its service manager restarts it."""
    _log.critical("queue is not draining; exiting so that the service manager restarts the worker")
    os.kill(worker, signal.SIGQUIT)
    deadline = time.monotonic() + timeout_s
    while os.getppid() == worker and time.monotonic() < deadline:
        time.sleep(TICK_S)
    if os.getppid() == worker:
        os.kill(worker, signal.SIGKILL)


def _start_health(
    supervisor: Supervisor,
    settings: Settings,
    parts: dict[str, Callable[[], bool]],
    metrics_fd: int | None,
) -> None:
    archive = open_archive(settings, timeout_s=_PROBE_TIMEOUT_S)
    queue = Probe("Redis", supervisor.queue_state)
    health = Health(queue, Probe("the archive", archive.check), parts, settings.stall_timeout_s)
    if metrics_fd is not None:
        receiver = threading.Thread(
            target=_receive_events,
            args=(socket.socket(fileno=metrics_fd), supervisor, health),
            daemon=True,
        )
        receiver.start()
        parts["receiver of metric events"] = receiver.is_alive
    if settings.health_port:
        health.start()
        serve_health(health, settings.health_host, settings.health_port)


def _receive_events(receiver: socket.socket, supervisor: Supervisor, health: Health) -> None:
    while True:
        if (event := receive(receiver)) is not None:
            health.metrics.record(event)
            supervisor.record(event)


def _repeat(task: Callable[[], None], every_s: float) -> None:
    while True:
        _run(task)
        time.sleep(every_s)


def _run(task: Callable[[], None]) -> None:
    """Run a task; log an error that may pass, so that the task is tried again."""
    try:
        task()
    except LumbarError as error:
        name = type(error).__name__
        _log.warning("task failed", task=task.__name__, error=name, reason=str(error))
    except redis.RedisError as error:
        _log.warning("task failed", task=task.__name__, error=type(error).__name__)
