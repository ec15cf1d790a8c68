"""Fixtures for all: real data where it is, and real servers.

Where a server is not installed, CI fails and others skip.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from deploy.demo import stack, viewer
from tests.support.needs import cannot_run

pytest_plugins = ["tests.support.faults.plugin"]

# A busy machine is no failure: hypothesis judges what the code does, not how fast.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real studies, outside the repository; skipped where it is absent."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("LUMBAR_TEST_DATA", root.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set LUMBAR_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def servers_installed() -> None:
    """Redis and Orthanc with its plugins are there, or this test cannot say anything."""
    if lacking := stack.missing():
        cannot_run(f"{', '.join(lacking)} missing: apt-get install {stack.PACKAGES}")


@pytest.fixture(scope="session")
def servers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared servers keep their files."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def redis_server(servers_installed: None, servers_folder: Path) -> Iterator[stack.RedisServer]:
    """A Redis for the whole session."""
    with stack.redis_server(servers_folder) as server:
        yield server


@pytest.fixture(scope="session")
def orthanc_server(
    redis_server: stack.RedisServer, servers_folder: Path
) -> Iterator[stack.OrthancServer]:
    """An Orthanc with the plugin for the whole session; its studies go to `redis_server`.

    It serves the viewer where that is installed.
    """
    with stack.orthanc_server(
        servers_folder, redis_server.url, stable_age_s=1, viewer=viewer.installed()
    ) as server:
        yield server
