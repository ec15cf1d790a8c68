"""The OHIF viewer for tests and demo: its folder, and an nginx that serves it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from deploy.demo import stack

FOLDER = stack.ROOT / ".viewer"
"""The folder into which `make viewer` installs it."""
TEMPLATE = stack.ROOT / "deploy" / "nginx" / "lumbar.conf.template"
MEDIA_TYPES = Path("/etc/nginx/mime.types")


@dataclass(frozen=True)
class Nginx:
    """A running nginx in front of an Orthanc."""

    process: stack.Process
    url: str


def installed() -> Path | None:
    """The folder of the viewer, or None if it is not installed."""
    return FOLDER if (FOLDER / "index.html").is_file() else None


def configuration(listen: str, orthanc: str, folder: Path) -> str:
    """The server block of deploy/nginx with its variables replaced, as envsubst does."""
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in (("LISTEN", listen), ("ORTHANC", orthanc), ("OHIF", str(folder))):
        text = text.replace(f"${{LUMBAR_{name}}}", value)
    return text


def write_configuration(home: Path, server: str) -> Path:
    """A complete nginx configuration around one server block, with all paths inside `home`."""
    home.mkdir(parents=True, exist_ok=True)
    bodies = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    path = home / "nginx.conf"
    path.write_text(
        "\n".join(
            [
                "daemon off;",
                # Started as root, nginx would read the files as `nobody`, without permission.
                *(["user root;"] if os.geteuid() == 0 else []),
                f"pid {home}/nginx.pid;",
                f"error_log {home}/error.log;",
                "events {}",
                "http {",
                f"include {MEDIA_TYPES};",
                f"access_log {home}/access.log;",
                *(f"{body}_temp_path {home}/{body};" for body in bodies),
                server,
                "}",
            ]
        ),
        encoding="utf-8",
    )
    return path


@contextmanager
def nginx(folder: Path, orthanc: stack.OrthancServer, viewer: Path) -> Iterator[Nginx]:
    """An nginx on a free port that serves the viewer and forwards all else to Orthanc."""
    home = folder / "nginx"
    listen = f"{stack.LOOPBACK}:{stack.free_port()}"
    path = write_configuration(home, configuration(listen, urlsplit(orthanc.url).netloc, viewer))
    command = [stack.binary("nginx"), "-p", str(home), "-c", str(path)]
    with stack.running("nginx", command, home / "nginx.log") as process:
        url = f"http://{listen}"
        process.wait_until(lambda: _answers(url))
        yield Nginx(process, url)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ohif/", timeout=2).is_success
    except httpx.TransportError:
        return False
