"""The hospital of all faults, and the table of what became of its studies."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

import harness
import pytest
import stack
import table
from kills import kill_the_parent
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
        running.heal()
        # Counted last of all: what comes twice may come late.
        ROWS.extend(running.row(trial) for trial in running.trials)


@pytest.fixture(scope="session", autouse=True)
def beside(
    request: pytest.FixtureRequest,
    servers_installed: None,
    bundle: Path,
    new_study: Callable[[], Study],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], None]]:
    """The deaths of whole workers, which are mostly waiting, in a hospital beside all else.

    One thread goes through them, because a server ends with the thread that started it.
    """
    steps = [
        item.callspec.params["step"]
        for item in request.session.items
        if item.name.startswith("test_the_parent_is_killed")
    ]
    outcomes: dict[str, Future[None]] = {step: Future() for step in steps}

    def work() -> None:
        with harness.hospital(tmp_path_factory.mktemp("beside"), bundle, new_study) as second:
            for step, outcome in outcomes.items():
                try:
                    kill_the_parent(second, step)
                    check_last(second)
                except BaseException as error:  # noqa: BLE001 - told by the test of this step
                    outcome.set_exception(error)
                else:
                    outcome.set_result(None)
            second.heal()
            ROWS.extend(second.row(trial) for trial in second.trials)

    with ThreadPoolExecutor(1) as lane:
        done = lane.submit(work) if steps else None
        yield lambda step: first_of(outcomes[step], done)


def first_of(outcome: Future[None], work: Future[None] | None) -> None:
    """The outcome of a step; where the work ended before, that of the work."""
    wait([outcome, *([work] if work else [])], return_when=FIRST_COMPLETED)
    (outcome if outcome.done() or work is None else work).result()


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, and write it to build/faults."""
    if ROWS:
        terminalreporter.ensure_newline()
        table.show(ROWS, Console(file=terminalreporter._tw._file, width=110))
        table.write(ROWS, OUT)
