"""An archive that misbehaves: a proxy in front of Orthanc that injects faults."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

STORE = r"POST /instances$"
FILES = r"GET /instances/.*/file$"
_DROPPED = ("connection", "transfer-encoding", "content-length", "keep-alive")


@dataclass(frozen=True)
class Fault:
    """What happens to requests (`METHOD /path`) that match a pattern.

    They wait for `delay_s`; then they get `status` and `body` without Orthanc, or, with `half`,
    the first half of Orthanc's response.
    """

    only: str = ""
    delay_s: float = 0.0
    status: int | None = None
    body: bytes = b"{}"
    half: bool = False


WELL = Fault(only=r"^$")
SLOW = Fault(delay_s=0.4)
UNAVAILABLE = Fault(status=503)
UNAUTHORIZED = Fault(status=401)
HANGING = Fault(delay_s=8.0, status=504)
HALF_A_BODY = Fault(half=True)
STORES_NOTHING = Fault(only=STORE, status=200, body=b'{"Status": "Success"}')


class Proxy:
    """A running proxy; `fault` may be changed at any time."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.fault = WELL

    @contextmanager
    def doing(self, fault: Fault) -> Iterator[None]:
        """Inject a fault while the body runs."""
        self.fault = fault
        try:
            yield
        finally:
            self.fault = WELL


@contextmanager
def proxying(target: str) -> Iterator[Proxy]:
    """A proxy in front of the server at this URL."""

    class Handler(_Handler):
        host = urlsplit(target).netloc

    server = _QuietServer(("127.0.0.1", 0), Handler)
    Handler.proxy = Proxy(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Handler.proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        pass  # a client that is killed disconnects


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    host: str
    proxy: Proxy

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.proxy.fault
        if not re.search(fault.only, f"{self.command} {urlsplit(self.path).path}"):
            fault = WELL
        time.sleep(fault.delay_s)
        if fault.status is not None:
            self._answer(fault.status, {}, fault.body)
            return
        connection = HTTPConnection(self.host, timeout=60)
        try:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _DROPPED}
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, HTTPException):
            self.close_connection = True  # Orthanc is down
            return
        finally:
            connection.close()
        self._answer(answer.status, dict(answer.getheaders()), content, half=fault.half)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the library's names

    def _answer(
        self, status: int, headers: dict[str, str], content: bytes, *, half: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _DROPPED:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if half else content)
        self.close_connection = half

    def log_message(self, *_: object) -> None:
        pass
