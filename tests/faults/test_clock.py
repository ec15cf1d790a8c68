"""A clock that jumps: that of Orthanc and the worker, as where Redis has another machine.

Redis itself cannot be told a wrong time: its allocator asks for it before libfaketime can tell.
"""

import os
from pathlib import Path

import pytest

from tests.support.faults import harness
from tests.support.needs import cannot_run

LIBRARIES = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
FAKETIME = os.environ.get("LIBFAKETIME") or next(map(str, LIBRARIES), "")
HOUR_S = 3600


def set_clock(file: Path, offset_s: int) -> None:
    """Move the clock of the servers that read this file."""
    file.with_suffix(".new").write_text(f"{offset_s:+d}\n")
    file.with_suffix(".new").rename(file)


@pytest.mark.slow
def test_the_clock_steps(servers_installed, bundle, new_study, rows, tmp_path):
    """An hour forward in one study and two back in another: either is graded once."""
    if not FAKETIME:
        cannot_run("libfaketime missing: apt-get install libfaketime")
    clock = tmp_path / "clock"
    set_clock(clock, 0)
    variables = {
        "LD_PRELOAD": FAKETIME,
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        # What measures durations is not stepped on a real machine either.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with harness.running_servers(tmp_path, bundle, new_study, variables=variables) as servers:
        with servers.trial("the clock steps 1 h forward and 2 h back") as trial:
            for offset_s in (HOUR_S, -HOUR_S):
                study = servers.send(trial)
                servers.wait_for_step(study, "localise")
                set_clock(clock, offset_s)
                harness.announce(servers, study)
            servers.send(trial)
            trial.ends()
        row = servers.row(trial)
        rows.append(row)
    assert (row.count.graded, row.count.lost, row.count.duplicated) == (3, 0, 0)
