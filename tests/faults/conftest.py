"""Servers for many faults: each process of pytest-xdist has its own."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.bundles import small_bundle
from tests.support.faults import harness, table
from tests.support.faults.plugin import ROWS
from tests.support.faults.studies import Study, studies


@pytest.fixture(scope="session")
def new_study(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Study]:
    """Makes studies that are new to all servers."""
    return studies(tmp_path_factory.mktemp("phantom"))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that is quick to load and to ask."""
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small")


@pytest.fixture(scope="session")
def servers(
    servers_installed: None,
    bundle: Path,
    new_study: Callable[[], Study],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[harness.Servers]:
    """The servers of all faults after which they work again.

    Their studies are counted again at the end, since duplicates may appear late.
    """
    folder = tmp_path_factory.mktemp("servers")
    with harness.running_servers(folder, bundle, new_study) as running:
        yield running
        running.heal()
        rows = [running.row(trial) for trial in running.trials]
        ROWS.extend(rows)
        assert not [row for row in rows if row.count.lost or row.count.duplicated]


def check_last(servers: harness.Servers, recorded: int | None = 0) -> None:
    """Fail if a study of the last trial is lost or duplicated.

    `recorded` of them end with a reason instead of a report; None for any number.
    """
    row = servers.row(servers.trials[-1])
    count = row.count
    assert (count.lost, count.duplicated) == (0, 0), row
    assert count.graded + count.recorded == count.sent, row
    assert recorded in (None, count.recorded), row


@pytest.fixture
def check(servers: harness.Servers) -> Callable[..., None]:
    """`check_last` of the servers of all faults."""
    return partial(check_last, servers)


@pytest.fixture(scope="session")
def rows() -> list[table.Row]:
    """The table, for faults with separate servers."""
    return ROWS
