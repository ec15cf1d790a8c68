"""When the worker is ready and live, from the last results of the probes."""

from __future__ import annotations

import time

import pytest
import redis

from worker.errors import ArchiveUnavailable
from worker.service import health
from worker.service.health import Health, Probe
from worker.service.metrics import QueueState

STALL_TIMEOUT_S = 60


def state(busy_s: float, ended_s: float | None) -> QueueState:
    return QueueState({}, 0.0, 0, 0, 0, busy_s, ended_s, ended_s)


def health_of(state: QueueState) -> Health:
    """Health after one probe of Redis and of the archive."""
    probes = Probe("Redis", lambda: state), Probe("the archive", lambda: "Orthanc")
    for probe in probes:
        probe.run_once()
        probe.is_alive = lambda: True
    return Health(*probes, {}, STALL_TIMEOUT_S)


@pytest.mark.parametrize(
    ("busy_s", "ended_s", "ready"),
    [
        (0, None, True),
        (0, 9000, True),
        (59, None, True),
        (61, None, False),
        (9000, 59, True),
        (9000, 61, False),
        (59, 9000, True),
    ],
)
def test_it_is_stalled_only_when_work_waits_and_none_ends(busy_s, ended_s, ready):
    """An idle worker is ready; studies that just arrived and a long queue are given time."""
    assert (health_of(state(busy_s, ended_s)).problems() == []) is ready


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (ArchiveUnavailable("Orthanc is away"), "Orthanc is away"),
        (redis.ConnectionError("10.0.0.1"), "X: not available (ConnectionError)"),
        (KeyError("DOE^JANE"), "X: invalid content (KeyError)"),
    ],
)
def test_a_failed_probe_reports_why_and_is_repeated(error, problem):
    """No error ends the probe; messages of other programs are not quoted."""
    results = iter([error, "there"])

    def check() -> str:
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    probe = Probe("X", check)
    assert probe.problem == "X: not checked yet"
    probe.run_once()
    assert (probe.result, probe.problem) == (None, problem)
    probe.run_once()
    assert (probe.result, probe.problem) == ("there", "")


def test_an_old_result_does_not_count(monkeypatch):
    """A server that stops responding counts as unavailable, although it responded before."""
    probe = Probe("X", lambda: "there")
    probe.run_once()
    later = time.monotonic() + health.STALE_S + 1
    monkeypatch.setattr(health.time, "monotonic", lambda: later)
    assert (probe.result, probe.problem) == (None, "X: no response for 31 s")


def test_a_stopped_part_is_named():
    """A thread that has stopped makes the worker neither live nor ready."""
    health = health_of(state(0, None))
    health._parts = {"reconciler": lambda: False}
    assert health.dead_parts() == health.problems() == ["reconciler has stopped"]
