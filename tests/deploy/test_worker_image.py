"""The health check of the worker's container, against real servers."""

from __future__ import annotations

import os
import subprocess
import sys

import process
import pytest
import stack

HEALTHCHECK = stack.ROOT / "deploy" / "images" / "worker" / "healthcheck.py"


@pytest.fixture
def check(redis_server, orthanc_server):
    """Run it with these settings changed."""

    def run(**changed: str) -> subprocess.CompletedProcess[str]:
        settings = {
            "LUMBAR_REDIS_URL": redis_server.url,
            "LUMBAR_ORTHANC_URL": orthanc_server.url,
            "LUMBAR_ORTHANC_USERNAME": orthanc_server.username,
            "LUMBAR_ORTHANC_PASSWORD": orthanc_server.password,
        }
        return subprocess.run(
            [sys.executable, HEALTHCHECK],
            env={**os.environ, **settings, **changed},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_it_is_healthy_where_both_answer(check):
    """Redis and Orthanc there, and the user known: exit code 0, and nothing said."""
    done = check()
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"LUMBAR_REDIS_URL": f"redis://{process.LOOPBACK}:1/0"}, "ConnectionError"),
        ({"LUMBAR_ORTHANC_URL": f"http://{process.LOOPBACK}:1"}, "cannot be reached"),
        ({"LUMBAR_ORTHANC_PASSWORD": "another"}, "lets us not in"),
        ({"LUMBAR_CONCURRENCY": "many"}, "LUMBAR_CONCURRENCY"),
    ],
)
def test_it_is_not_and_says_why(check, changed, said):
    """Whatever is away or set wrongly is named, without a trace and without a password."""
    done = check(**changed)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "another" not in done.stderr
