"""The health check of the worker's container, with a real supervisor and real servers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.demo import process, stack

HEALTHCHECK = stack.ROOT / "deploy" / "images" / "worker" / "healthcheck.py"
NOWHERE = f"{process.LOOPBACK}:1"


@pytest.fixture
def supervisor_environment(redis_server, orthanc_server, tmp_path: Path):
    """Starts the supervisor, which serves the health check, with these settings changed."""

    @contextmanager
    def run(**changed: str) -> Iterator[dict[str, str]]:
        settings = {
            "LUMBAR_REDIS_URL": redis_server.url,
            "LUMBAR_ORTHANC_URL": orthanc_server.url,
            "LUMBAR_ORTHANC_USERNAME": orthanc_server.username,
            "LUMBAR_ORTHANC_PASSWORD": orthanc_server.password,
            "LUMBAR_HEALTH_HOST": "0.0.0.0",
            "LUMBAR_HEALTH_PORT": str(process.free_port()),
            "LUMBAR_QUEUE": "lumbar-health",
        }
        environment = {**os.environ, **settings, **changed}
        command = [sys.executable, "-m", "worker.cli", "supervise"]
        with process.running(
            "The supervisor", command, tmp_path / "log", environment
        ) as supervisor:
            supervisor.wait_until(lambda: "health" in supervisor.log.read_text())
            yield environment
            supervisor.kill()  # it ignores SIGTERM, and ends with its parent

    return run


def check(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the health check as the container does."""
    command = [sys.executable, str(HEALTHCHECK)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_it_is_healthy_once_both_responded(supervisor_environment):
    """Redis and Orthanc respond and accept the credentials: exit code 0, and no output."""
    with supervisor_environment() as environment:
        for _ in range(20):
            if (done := check(environment)).returncode == 0:
                break
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"LUMBAR_REDIS_URL": f"redis://{NOWHERE}/0"}, "Redis: not available (ConnectionError)"),
        ({"LUMBAR_ORTHANC_URL": f"http://{NOWHERE}"}, "connection failed"),
        ({"LUMBAR_ORTHANC_PASSWORD": "another"}, "authentication failed"),
    ],
)
def test_it_is_not_and_prints_why(supervisor_environment, changed, message):
    """Unavailable servers and wrong settings are named, without a traceback or a password."""
    with supervisor_environment(**changed) as environment:
        for _ in range(20):
            if "not checked yet" not in (done := check(environment)).stderr:
                break
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "another" not in done.stderr


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"LUMBAR_HEALTH_PORT": "1"}, "ConnectError"), ({"LUMBAR_HEALTH_PORT": "x"}, "HEALTH_PORT")],
)
def test_it_is_not_without_a_worker(changed, message):
    """No worker, or an invalid port: one line says so."""
    done = check({**os.environ, **changed})
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
