"""Whether the worker lives and can work, and its metrics, over HTTP: /live, /ready, /metrics.

What Redis and the archive say is looked up by threads of their own, again and again; a
request is answered from what they saw last. So an answer never waits for anything.
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
from worker.service.metrics import Metrics, QueueState, flag, of_queue

LOOK_EVERY_S: Final = 2.0
STALE_S: Final = 30.0
"""What was seen longer ago counts as not seen: whoever looks is being kept waiting."""
_REQUEST_S: Final = 5.0
_log = structlog.stdlib.get_logger(__name__)
_Seen = TypeVar("_Seen")


class Look(Generic[_Seen]):
    """Something that a thread looks at again and again, and what it saw last."""

    def __init__(self, name: str, look: Callable[[], _Seen]) -> None:
        self._name = name
        self._look = look
        self._begun = time.monotonic()
        self._last: tuple[float, _Seen | None, str] | None = None
        self._thread = threading.Thread(target=self._for_ever, name=f"look-{name}", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def lives(self) -> bool:
        """Whether the thread does."""
        return self._thread.is_alive()

    @property
    def seen(self) -> _Seen | None:
        """What was seen, None where it is away."""
        return None if self._last is None or self.trouble else self._last[1]

    @property
    def trouble(self) -> str:
        """Why it counts as away, in words; empty where it answers."""
        at, _, why = self._last or (self._begun, None, f"{self._name} was not asked yet")
        silent_s = time.monotonic() - at
        return why or (f"{self._name} keeps us waiting" if silent_s > STALE_S else "")

    def once(self) -> None:
        """Look now."""
        try:
            seen, why = self._look(), ""
        except LumbarError as error:
            seen, why = None, str(error)
        except redis.RedisError as error:
            seen, why = None, f"{self._name} does not answer ({type(error).__name__})"
        except (ValueError, LookupError, TypeError) as error:  # a message that is not ours
            seen, why = None, f"{self._name} holds what cannot be read ({type(error).__name__})"
        self._last = (time.monotonic(), seen, why)

    def _for_ever(self) -> None:
        while True:
            self.once()
            time.sleep(LOOK_EVERY_S)


class Health:
    """What the three addresses answer.

    `living` names what must live, and says whether it does; `patience_s` is how long studies
    may wait without one coming to its end.
    """

    def __init__(
        self,
        queue: Look[QueueState],
        archive: Look[str],
        living: Mapping[str, Callable[[], bool]],
        patience_s: float,
    ) -> None:
        self._queue = queue
        self._archive = archive
        self._living = living
        self._patience_s = patience_s
        self.metrics = Metrics(self._gauges)

    def start(self) -> None:
        """Begin to look at Redis and the archive."""
        self._queue.start()
        self._archive.start()

    def live(self) -> list[str]:
        """What does not live any more; nothing where all is well."""
        living = {**self._living, "Redis' look": self._queue.lives}
        living["the archive's look"] = self._archive.lives
        return [f"{name} has ended" for name, lives in living.items() if not lives()]

    def ready(self) -> list[str]:
        """Why the worker cannot work, in words; nothing where it can."""
        away = [look.trouble for look in (self._queue, self._archive)]
        return [why for why in (*away, self._stalled(), *self.live()) if why]

    def _stalled(self) -> str:
        state = self._queue.seen
        if state is None:
            return ""
        waits_s = min(state.busy_s, math.inf if state.ended_s is None else state.ended_s)
        if waits_s <= self._patience_s:
            return ""
        return f"studies wait and none has come to its end for {waits_s:.0f} s"

    def _gauges(self) -> Iterator[Metric]:
        if (state := self._queue.seen) is not None:
            yield from of_queue(state)
        yield flag("redis_up", "Whether Redis answers.", not self._queue.trouble)
        yield flag("archive_up", "Whether the archive answers.", not self._archive.trouble)
        yield flag("ready", "Whether the worker is ready.", not self.ready())


def serve_health(health: Health, host: str, port: int) -> None:
    """Answer from a thread; say so where the address cannot be had, and go on without."""
    try:
        server = _Server((host, port), _Handler)
    except OSError as error:
        _log.error(
            "no health and no metrics: set LUMBAR_HEALTH_HOST and LUMBAR_HEALTH_PORT to an "
            "address of this machine that nobody listens on",
            host=host,
            port=port,
            error=error.strerror or type(error).__name__,
        )
        return
    server.health = health
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    _log.info("health is told", host=host, port=port)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    health: Health

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Whoever asked has gone away, or sent no HTTP: nobody else needs to know."""
        _log.debug("a request for health broke off", error=type(sys.exc_info()[1]).__name__)


class _Handler(BaseHTTPRequestHandler):
    timeout = _REQUEST_S
    server_version = "orthanc-lumbar"
    sys_version = ""

    def do_GET(self) -> None:
        health = cast("_Server", self.server).health
        match self.path.partition("?")[0]:
            case "/metrics":
                self._answer(HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, health.metrics.page())
            case "/live":
                self._judge("live", health.live())
            case "/ready":
                self._judge("ready", health.ready())
            case _:
                self._json(HTTPStatus.NOT_FOUND, {"there is": ["/live", "/ready", "/metrics"]})

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def log_message(self, *_: object) -> None:
        """Nothing: it is asked every few seconds."""

    def _judge(self, word: str, reasons: list[str]) -> None:
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        self._json(status, {word: not reasons, "reasons": reasons})

    def _json(self, status: HTTPStatus, content: dict[str, object]) -> None:
        self._answer(status, "application/json", json.dumps(content).encode() + b"\n")

    def _answer(self, status: HTTPStatus, media_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
