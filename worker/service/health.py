"""Health checks and metrics over HTTP: /live, /ready, /metrics.

Threads probe Redis and the archive repeatedly; a request is answered from the last results, so
that it never waits.
"""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Generic, TypeVar, cast

import redis
import structlog
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.core import Metric

from worker.errors import LumbarError
from worker.service.metrics import Metrics, QueueState, boolean_gauge, queue_gauges

PROBE_EVERY_S: Final = 2.0
STALE_S: Final = 30.0
"""A result older than this does not count: the probe waits for a response."""
_REQUEST_S: Final = 5.0
_log = structlog.stdlib.get_logger(__name__)
_Result = TypeVar("_Result")


class Probe(Generic[_Result]):
    """A check that a thread repeats, and its last result."""

    def __init__(self, name: str, check: Callable[[], _Result]) -> None:
        self._name = name
        self._check = check
        self._begun = time.monotonic()
        self._last: tuple[float, _Result | None, str] | None = None
        self._thread = threading.Thread(target=self._repeat, name=f"probe-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def result(self) -> _Result | None:
        """The last result, None if there is a problem."""
        return None if self._last is None or self.problem else self._last[1]

    @property
    def problem(self) -> str:
        """Why the check fails; empty if it succeeds."""
        at, _, problem = self._last or (self._begun, None, f"{self._name}: not checked yet")
        age_s = time.monotonic() - at
        return problem or (
            f"{self._name}: no response for {age_s:.0f} s" if age_s > STALE_S else ""
        )

    def run_once(self) -> None:
        """Check now."""
        result: _Result | None = None
        problem = ""
        try:
            result = self._check()
        except LumbarError as error:
            problem = str(error)
        except redis.RedisError as error:
            problem = f"{self._name}: not available ({type(error).__name__})"
        except (ValueError, LookupError, TypeError) as error:  # another program's message
            problem = f"{self._name}: invalid content ({type(error).__name__})"
        self._last = (time.monotonic(), result, problem)

    def _repeat(self) -> None:
        while True:
            self.run_once()
            time.sleep(PROBE_EVERY_S)


class Health:
    """The state behind /live, /ready and /metrics.

    `parts` says of each part, by name, whether it runs; `stall_timeout_s` is how long studies
    may wait without one ending.
    """

    def __init__(
        self,
        queue: Probe[QueueState],
        archive: Probe[str],
        parts: Mapping[str, Callable[[], bool]],
        stall_timeout_s: float,
    ) -> None:
        self._queue = queue
        self._archive = archive
        self._parts = parts
        self._stall_timeout_s = stall_timeout_s
        self.metrics = Metrics(self._gauges)

    def start(self) -> None:
        """Start the probes."""
        self._queue.start()
        self._archive.start()

    def dead_parts(self) -> list[str]:
        """The parts that have stopped; empty if all run."""
        parts = {**self._parts, "probe of Redis": self._queue.is_alive}
        parts["probe of the archive"] = self._archive.is_alive
        return [f"{name} has stopped" for name, is_alive in parts.items() if not is_alive()]

    def problems(self) -> list[str]:
        """Why the worker cannot work; empty if it can."""
        problems = (self._queue.problem, self._archive.problem, self._stall(), *self.dead_parts())
        return [problem for problem in problems if problem]

    def _stall(self) -> str:
        state = self._queue.result
        if state is None:
            return ""
        idle_s = min(state.busy_s, math.inf if state.ended_s is None else state.ended_s)
        if idle_s <= self._stall_timeout_s:
            return ""
        return f"queue is not draining: no study has ended for {idle_s:.0f} s"

    def _gauges(self) -> Iterator[Metric]:
        if (state := self._queue.result) is not None:
            yield from queue_gauges(state)
        yield boolean_gauge("redis_up", "Whether Redis responds.", not self._queue.problem)
        yield boolean_gauge(
            "archive_up", "Whether the archive responds.", not self._archive.problem
        )
        yield boolean_gauge("ready", "Whether the worker is ready.", not self.problems())


def serve_health(health: Health, host: str, port: int) -> None:
    """Serve from a thread; log if the address cannot be bound, and go on without."""
    try:
        server = _Server((host, port), _Handler)
    except OSError as error:
        _log.error(
            "health and metrics are not served: set LUMBAR_HEALTH_HOST and LUMBAR_HEALTH_PORT to "
            "a free address of this machine",
            host=host,
            port=port,
            error=error.strerror or type(error).__name__,
        )
        return
    server.health = health
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    _log.info("serving health and metrics", host=host, port=port)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    health: Health

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Log a client that disconnected or sent no HTTP, at debug level only."""
        _log.debug("health request aborted", error=type(sys.exc_info()[1]).__name__)


class _Handler(BaseHTTPRequestHandler):
    timeout = _REQUEST_S
    server_version = "orthanc-lumbar"
    sys_version = ""

    def do_GET(self) -> None:
        health = cast("_Server", self.server).health
        match self.path.partition("?")[0]:
            case "/metrics":
                self._send(HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, health.metrics.page())
            case "/live":
                self._send_check("live", health.dead_parts())
            case "/ready":
                self._send_check("ready", health.problems())
            case _:
                self._send_json(HTTPStatus.NOT_FOUND, {"paths": ["/live", "/ready", "/metrics"]})

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def log_message(self, *_: object) -> None:
        """Log no requests: there is one every few seconds."""

    def _send_check(self, name: str, reasons: list[str]) -> None:
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        self._send_json(status, {name: not reasons, "reasons": reasons})

    def _send_json(self, status: HTTPStatus, content: dict[str, object]) -> None:
        self._send(status, "application/json", json.dumps(content).encode() + b"\n")

    def _send(self, status: HTTPStatus, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
