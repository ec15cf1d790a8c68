"""What the tests of deployment share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deploy.demo import process
from tests.support.needs import cannot_run


@pytest.fixture(scope="session")
def program() -> Callable[[str, str], str]:
    """The path of a program of a Debian package; without it CI fails and others skip."""

    def find(name: str, package: str) -> str:
        path = process.found(name)
        if path is None:
            cannot_run(f"{name} missing: apt-get install {package}")
        return path

    return find
