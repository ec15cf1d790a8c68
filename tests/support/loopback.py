"""A web server on loopback with responses of a test, over TLS if it is given a context."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """A response; `content_length` is a Content-Length that differs from that of the body."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_length: int | None = None


@dataclass(frozen=True)
class Asked:
    """A request of a client."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Server:
    """A running server, and every request that it received."""

    url: str
    asked: list[Asked]


@contextmanager
def serving(
    answer: Callable[[Asked], Answer], tls: ssl.SSLContext | None = None
) -> Iterator[Server]:
    """A server that responds to each request with `answer`."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            asked.append(
                Asked(self.command, self.path, dict(self.headers), self.rfile.read(length))
            )
            given = answer(asked[-1])
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            content_length = (
                len(given.body) if given.content_length is None else given.content_length
            )
            self.send_header("Content-Length", str(content_length))
            self.end_headers()
            self.wfile.write(given.body)
            self.close_connection = given.content_length is not None

        do_POST = do_GET  # noqa: N815 - the library's name

        def log_message(self, *_: object) -> None:
            pass

    class QuietServer(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # clients that disconnect are part of the tests

    server = QuietServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        scheme = "https" if tls else "http"
        yield Server(f"{scheme}://127.0.0.1:{server.server_port}/rs", asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
