"""What the tests of the whole way share: the shipped bundle."""

import pytest

from worker.approaches import load_bundle
from worker.models.bundle import Bundle


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The bundle that ships, on the CPU."""
    return load_bundle(device="cpu")
