"""Servers for many faults, and a table of their results.

Most of the time is spent waiting, so a few processes (pytest-xdist) share the faults, each with
servers of its own; their rows are merged into one table.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deploy.demo import stack
from tests.support.bundles import small_bundle
from tests.support.faults import harness, table
from tests.support.faults.studies import Study, studies

ROWS: list[table.Row] = []
OUT = Path(os.environ.get("LUMBAR_FAULTS", stack.ROOT / "build" / "faults"))


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run slow tests first, so that no process is left with them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the rows to the main process of pytest-xdist."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["faults"] = [asdict(row) for row in ROWS]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add the rows of a process that has ended."""
    ROWS.extend(map(table.row_of, getattr(node, "workeroutput", {}).get("faults", ())))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, and write it to build/faults."""
    if ROWS:
        ROWS.sort(key=lambda row: row.fault.casefold())
        terminalreporter.ensure_newline()
        table.show(ROWS, Console(file=terminalreporter._tw._file, width=110))
        table.write(ROWS, OUT)
