"""The death of a worker in one step of a study, seen from outside."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.support.faults import proxy
from tests.support.faults.harness import Servers, Trial

RECOVERY_S = 30.0
TRIES = 4


def kill_in(servers: Servers, trial: Trial, step: str, kill: Callable[[], None]) -> str:
    """Send studies until one was killed in the very step; return Orthanc's id of it."""
    for _ in range(TRIES):
        with servers.proxy.doing(proxy.SLOW):
            study = servers.send(trial)
            servers.wait_for_step(study, step)
            kill()
        trial.ends()
        if servers.steps(study)[-1] == step:
            return study
        servers.heal()
        servers.wait_for_outcomes(trial)
    raise AssertionError(f"the kill always came after {step}")


def kill_the_child(servers: Servers, step: str) -> str:
    """The child dies, and the next takes the study up; return Orthanc's id of it."""
    with servers.trial(f"the worker's child killed: {step}") as trial:
        return kill_in(servers, trial, step, servers.kill_child)


def kill_the_parent(servers: Servers, step: str) -> None:
    """The whole worker is killed and restarted; it grades the study again within 30 s."""
    with servers.trial(f"the worker's parent killed: {step}") as trial:
        study = kill_in(servers, trial, step, servers.worker.kill)
        place = servers.place()
        servers.worker.restart()
        ready = time.monotonic()
        servers.wait_for_step(study, "headers", place)
        assert time.monotonic() - ready < RECOVERY_S
