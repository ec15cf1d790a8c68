"""What to do where a program that a test needs is not installed."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def cannot_run(message: str) -> NoReturn:
    """Fail in CI, where everything must be there; skip elsewhere."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
