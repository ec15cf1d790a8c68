"""A clock that jumps: of Redis, Orthanc and the worker alike, as on one machine."""

import os
from pathlib import Path

import harness
import pytest
from needs import cannot_run

LIBRARIES = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
FAKETIME = os.environ.get("LIBFAKETIME") or next(map(str, LIBRARIES), "")
HOUR_S = 3600


@pytest.fixture
def clock(tmp_path, monkeypatch):
    """Sets the clock of every server that is started from now on, by seconds."""
    if not FAKETIME:
        cannot_run("libfaketime missing: apt-get install libfaketime")
    file = tmp_path / "clock"

    def step(offset_s: int) -> None:
        file.with_suffix(".new").write_text(f"{offset_s:+d}\n")
        file.with_suffix(".new").rename(file)

    step(0)
    monkeypatch.setenv("LD_PRELOAD", FAKETIME)
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(file))
    monkeypatch.setenv("FAKETIME_CACHE_DURATION", "1")
    # What measures durations is not stepped on a real machine either.
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    return step


def test_the_clock_steps(clock, servers_installed, bundle, new_study, rows, tmp_path):
    """An hour forward in one study and two back in another: leases run out early or late, and
    either study is graded once."""
    with harness.hospital(tmp_path, bundle, new_study) as hospital:
        with hospital.trial("the clock steps 1 h forward and 2 h back") as trial:
            for offset_s in (HOUR_S, -HOUR_S):
                study = hospital.send(trial)
                hospital.wait_for_step(study, "localise")
                clock(offset_s)
                harness.order(hospital, study)
            hospital.send(trial)
            trial.ends()
        row = hospital.row(trial)
        rows.append(row)
    assert (row.count.graded, row.count.lost, row.count.duplicated) == (3, 0, 0)
