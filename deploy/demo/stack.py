"""Redis, Orthanc and the worker on free loopback ports, for tests and demo.

Each is a context manager that waits until its server responds, reports the log if it does not,
and leaves no process behind.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import redis

from deploy.demo.process import (
    LOOPBACK,
    PACKAGES,
    SYSTEM_PATH,
    Process,
    StackError,
    binary,
    found,
    free_port,
    running,
)

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "orthanc" / "lumbar_plugin.py"
CONFIGURATION = ROOT / "orthanc" / "orthanc.json"
WORKER_START_S = 300.0  # a cold disk reads torch for minutes


@dataclass(frozen=True)
class RedisServer:
    """A running Redis."""

    process: Process
    url: str


@dataclass(frozen=True)
class OrthancServer:
    """A running Orthanc, with its user."""

    process: Process
    url: str
    dicom_port: int
    username: str
    password: str

    def client(self, timeout_s: float = 60.0) -> httpx.Client:
        """A client of its REST API and DICOMweb; paths are relative to its root."""
        # Without gzip: compressing DICOM files takes longer than sending them.
        return httpx.Client(
            base_url=self.url,
            auth=(self.username, self.password),
            timeout=timeout_s,
            headers={"Accept-Encoding": "identity"},
            # Orthanc closes idle connections after 1 s: on a busy machine, in mid-request.
            limits=httpx.Limits(keepalive_expiry=0.8),
        )


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """A Redis with its append-only file in `folder`."""
    port = free_port()
    home = _made(folder / "redis")
    command = [
        binary("redis-server"),
        *("--bind", LOOPBACK, "--port", str(port), "--dir", str(home)),
        *("--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"),
    ]
    url = f"redis://{LOOPBACK}:{port}/0"
    with running(
        "Redis", command, home / "redis.log", ready=lambda _: _redis_responds(url)
    ) as process:
        yield RedisServer(process, url)


@contextmanager
def orthanc_server(
    folder: Path,
    redis_url: str,
    *,
    stable_age_s: int = 2,
    queue: str = "lumbar",
    viewer: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[OrthancServer]:
    """An Orthanc with the project's configuration and plugin, on free ports.

    It serves the viewer if its folder is given; `variables` are for the plugin.
    """
    http_port, dicom_port = free_port(), free_port()
    home = _made(folder / "orthanc")
    username, password = "lumbar", secrets.token_urlsafe(16)
    configuration = read_json_with_comments(CONFIGURATION) | {
        "StorageDirectory": str(_made(home / "storage")),
        "IndexDirectory": str(home / "storage"),
        "Plugins": [_plugin("OrthancPython"), _plugin("OrthancDicomWeb")],
        "PythonScript": str(PLUGIN),
        "RegisteredUsers": {username: password},
        "HttpPort": http_port,
        "DicomPort": dicom_port,
        "StableAge": stable_age_s,
    }
    path = home / "orthanc.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(configuration, indent=2))
    environment = {
        **_without_python(_without_lumbar(os.environ)),
        "PATH": SYSTEM_PATH,
        "LUMBAR_REDIS_URL": redis_url,
        "LUMBAR_QUEUE": queue,
        "LUMBAR_OHIF": str(viewer or ""),
        **(variables or {}),
    }
    url = f"http://{LOOPBACK}:{http_port}"

    def ready(process: Process) -> bool:
        if not _orthanc_responds(url, username, password):
            return False
        if "lumbar: stable studies are announced" not in process.log_text():
            raise StackError(f"Orthanc started without the plugin.\n{process.tail(40)}")
        return True

    command = [binary("Orthanc"), str(path)]
    with running("Orthanc", command, home / "orthanc.log", environment, ready=ready) as process:
        yield OrthancServer(process, url, dicom_port, username, password)


@contextmanager
def lumbar_worker(
    folder: Path,
    redis_url: str,
    orthanc: OrthancServer,
    *,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """A `lumbar serve` that has loaded its bundle."""
    home = _made(folder / "worker")
    environment = {
        **_without_lumbar(os.environ),
        "LUMBAR_REDIS_URL": redis_url,
        "LUMBAR_ORTHANC_URL": orthanc.url,
        "LUMBAR_ORTHANC_USERNAME": orthanc.username,
        "LUMBAR_ORTHANC_PASSWORD": orthanc.password,
        "LUMBAR_HEALTH_PORT": "0",  # more than one worker may run here
        **(variables or {}),
    }
    command = [sys.executable, "-m", "worker.cli", "serve"]
    with running(
        "The worker",
        command,
        home / "worker.log",
        environment,
        ready=lambda process: "bundle loaded" in process.log_text(),
        start_s=WORKER_START_S,
    ) as process:
        yield process


def read_json_with_comments(path: Path) -> dict[str, object]:
    """Orthanc's JSON, which allows // and /* */ outside of strings."""
    text = re.sub(
        r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/',
        lambda match: match[1] or "",
        path.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    content: dict[str, object] = json.loads(text)
    return content


def missing() -> list[str]:
    """The servers that are not installed; empty if all are."""
    absent = [name for name in ("redis-server", "Orthanc") if not found(name)]
    return absent + [n for n in ("OrthancPython", "OrthancDicomWeb") if not _plugin_found(n)]


def _redis_responds(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _orthanc_responds(url: str, username: str, password: str) -> bool:
    try:
        return httpx.get(f"{url}/system", auth=(username, password), timeout=2).is_success
    except httpx.TransportError:
        return False


def _plugin_found(name: str) -> Path | None:
    folders = (Path("/usr/share/orthanc/plugins"), Path("/usr/local/share/orthanc/plugins"))
    return next((p for f in folders if (p := f / f"lib{name}.so").exists()), None)


def _plugin(name: str) -> str:
    if path := _plugin_found(name):
        return str(path)
    raise StackError(f"Orthanc's plugin {name} is not installed: apt-get install {PACKAGES}")


def _without_python(environment: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in environment.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}


def _without_lumbar(environment: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in environment.items() if not k.startswith("LUMBAR_")}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
