"""The hospital of all faults, and the table of what became of its studies."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import harness
import pytest
import stack
import table
from rich.console import Console
from studies import Study, studies

ROWS: list[table.Row] = []
OUT = Path(os.environ.get("LUMBAR_FAULTS", stack.ROOT / "build" / "faults"))


@pytest.fixture(scope="session")
def new_study(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Study]:
    """A maker of studies that no server has seen."""
    return studies(tmp_path_factory.mktemp("phantom"))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that is quick to load and to ask."""
    return harness.small_bundle(tmp_path_factory.mktemp("bundle") / "small")


@pytest.fixture(scope="session")
def hospital(
    servers_installed: None,
    bundle: Path,
    new_study: Callable[[], Study],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[harness.Hospital]:
    """One for all faults that leave a working hospital behind; its table is kept at the end."""
    folder = tmp_path_factory.mktemp("hospital")
    with harness.hospital(folder, bundle, new_study) as running:
        yield running
        # Counted last of all: what comes twice may come late.
        ROWS.extend(running.row(trial) for trial in running.trials)


@pytest.fixture
def check(hospital: harness.Hospital) -> Iterator[Callable[..., None]]:
    """Nothing is lost or twice in the trials so far; `graded` of the last are graded once."""

    def checked(*, graded: int | None = None, recorded: int = 0) -> None:
        row = hospital.row(hospital.trials[-1])
        assert (row.count.lost, row.count.duplicated) == (0, 0), row
        expected = row.count.sent - recorded if graded is None else graded
        assert (row.count.graded, row.count.recorded) == (expected, recorded), row

    return checked


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, and write it to build/faults."""
    if ROWS:
        terminalreporter.ensure_newline()
        table.show(ROWS, Console(file=terminalreporter._tw._file, width=110))
        table.write(ROWS, OUT)
