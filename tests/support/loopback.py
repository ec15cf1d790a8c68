"""A web server on loopback that answers as a test says, over TLS if it is given a context."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """What is sent back; `promised` is a Content-Length that is not that of the body."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    promised: int | None = None


@dataclass(frozen=True)
class Asked:
    """What a client asked for."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Server:
    """A running server, and every request that it got."""

    url: str
    asked: list[Asked]


@contextmanager
def serving(
    answer: Callable[[Asked], Answer], tls: ssl.SSLContext | None = None
) -> Iterator[Server]:
    """A server that gives this answer to each request."""
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
            promised = len(given.body) if given.promised is None else given.promised
            self.send_header("Content-Length", str(promised))
            self.end_headers()
            self.wfile.write(given.body)
            self.close_connection = given.promised is not None

        do_POST = do_GET  # noqa: N815 - the library's name

        def log_message(self, *_: object) -> None:
            pass

    class QuietServer(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # clients that hang up are part of the tests

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
