"""Phantoms and the recogniser that ships."""

import pytest

from tests.support.phantoms import shared_phantom
from worker.domain.study import Role
from worker.recognise.recogniser import packaged


@pytest.fixture(scope="session")
def phantom():
    """One whose T2 the recogniser knows."""
    return shared_phantom(0)


@pytest.fixture(scope="session")
def middle(phantom):
    """The middle slice (rows, columns) of a role and its grid."""

    def of(role: Role):
        series = phantom.of(role)
        index = len(series.pixels) // 2
        return series.pixels[index].astype("float32"), series.planes[index].grid

    return of


@pytest.fixture(scope="session")
def recogniser():
    """The packaged one."""
    return packaged()
