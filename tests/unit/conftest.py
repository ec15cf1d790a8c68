"""Fixtures that need no service."""

from pathlib import Path

import pytest

from tests.support.bundles import write_untrained
from worker.approaches import load_bundle
from worker.models.bundle import Bundle


@pytest.fixture(scope="session")
def untrained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of untrained networks: right in form, worthless in content."""
    return write_untrained(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def untrained(untrained_folder: Path) -> Bundle:
    """The same, loaded on the CPU."""
    return load_bundle(untrained_folder, "cpu")
