"""What the tests of the whole way share: the shipped bundle."""

import pytest

from worker.models.loading import Bundle, load_bundle


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The bundle that ships, on the CPU."""
    return load_bundle(device="cpu")
