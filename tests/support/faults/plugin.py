"""Merges the results of the faults of all processes of pytest-xdist into one table."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deploy.demo import stack
from tests.support.faults import table

ROWS: list[table.Row] = []
OUT = Path(os.environ.get("LUMBAR_FAULTS", stack.ROOT / "build" / "faults"))


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
