"""What the tests of the whole way share: the shipped bundle, and a quick one made of it."""

from __future__ import annotations

import pytest

from tests.support.bundles import small_bundle
from worker.approaches import load_bundle
from worker.models.bundle import Bundle


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The bundle that ships, on the CPU: for tests of what it grades."""
    return load_bundle(device="cpu")


@pytest.fixture(scope="session")
def quick_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One member of each of its networks: for laws that hold whatever the networks are."""
    return load_bundle(small_bundle(tmp_path_factory.mktemp("bundle") / "small"), "cpu")
