"""A hospital for many faults, and the table of what became of its studies.

Most of the time is spent waiting, so a few processes (pytest-xdist) share the faults, each with
a hospital of its own; their rows come together in one table.
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
    """A maker of studies that no server has seen."""
    return studies(tmp_path_factory.mktemp("phantom"))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that is quick to load and to ask."""
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small")


@pytest.fixture(scope="session")
def hospital(
    servers_installed: None,
    bundle: Path,
    new_study: Callable[[], Study],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[harness.Hospital]:
    """One for all faults that leave a working hospital behind.

    Its studies are counted once more at the end: what comes twice may come late.
    """
    folder = tmp_path_factory.mktemp("hospital")
    with harness.hospital(folder, bundle, new_study) as running:
        yield running
        running.heal()
        rows = [running.row(trial) for trial in running.trials]
        ROWS.extend(rows)
        assert not [row for row in rows if row.count.lost or row.count.duplicated]


def check_last(hospital: harness.Hospital, recorded: int | None = 0) -> None:
    """Fails where a study of the last trial is lost or there twice.

    `recorded` of them end with a reason instead of a report; None where that is not the point.
    """
    row = hospital.row(hospital.trials[-1])
    count = row.count
    assert (count.lost, count.duplicated) == (0, 0), row
    assert count.graded + count.recorded == count.sent, row
    assert recorded in (None, count.recorded), row


@pytest.fixture
def check(hospital: harness.Hospital) -> Callable[..., None]:
    """`check_last` of the hospital of all faults."""
    return partial(check_last, hospital)


@pytest.fixture(scope="session")
def rows() -> list[table.Row]:
    """The table, for faults with a hospital of their own."""
    return ROWS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first, lest one process be left with them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of several hands its rows to the one that started it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["faults"] = [asdict(row) for row in ROWS]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the rows of a process that has ended."""
    ROWS.extend(map(table.row_of, getattr(node, "workeroutput", {}).get("faults", ())))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, and write it to build/faults."""
    if ROWS:
        ROWS.sort(key=lambda row: row.fault.casefold())
        terminalreporter.ensure_newline()
        table.show(ROWS, Console(file=terminalreporter._tw._file, width=110))
        table.write(ROWS, OUT)
