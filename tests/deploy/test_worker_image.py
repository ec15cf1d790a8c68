"""The health check of the worker's container, against a real keeper and real servers."""

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
def keeper(redis_server, orthanc_server, tmp_path: Path):
    """Starts the process that tells the worker's health, with these settings changed."""

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
        command = [sys.executable, "-m", "worker.cli", "keep"]
        with process.running("The keeper", command, tmp_path / "log", environment) as kept:
            kept.wait_until(lambda: "health" in kept.log.read_text())
            yield environment

    return run


def check(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the health check as the container does."""
    command = [sys.executable, str(HEALTHCHECK)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_it_is_healthy_once_both_answered(keeper):
    """Redis and Orthanc there, and the user known: exit code 0, and nothing said."""
    with keeper() as environment:
        for _ in range(20):
            if (done := check(environment)).returncode == 0:
                break
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"LUMBAR_REDIS_URL": f"redis://{NOWHERE}/0"}, "Redis does not answer (ConnectionError)"),
        ({"LUMBAR_ORTHANC_URL": f"http://{NOWHERE}"}, "cannot be reached"),
        ({"LUMBAR_ORTHANC_PASSWORD": "another"}, "does not let us in"),
    ],
)
def test_it_is_not_and_says_why(keeper, changed, said):
    """Whatever is away or set wrongly is named, without a trace and without a password."""
    with keeper(**changed) as environment:
        for _ in range(20):
            if "was not asked yet" not in (done := check(environment)).stderr:
                break
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "another" not in done.stderr


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"LUMBAR_HEALTH_PORT": "1"}, "ConnectError"), ({"LUMBAR_HEALTH_PORT": "x"}, "HEALTH_PORT")],
)
def test_it_is_not_where_nobody_answers(changed, said):
    """No worker, or no port to ask at: one line says so."""
    done = check({**os.environ, **changed})
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
