"""A child of the worker that is killed or hangs, in each step of a study."""

import os
import signal

import pytest

from tests.support.faults.harness import STEPS
from tests.support.faults.kills import kill_the_child


@pytest.mark.parametrize("step", STEPS)
def test_the_child_is_killed(step, servers, check):
    """The study of a child that dies in a step is graded once by the next."""
    study = kill_the_child(servers, step)
    check()
    servers.wait_for_event(study, "child process died")


@pytest.mark.slow
def test_a_study_that_kills_its_worker_each_time(servers, check):
    """After the allowed attempts it is a dead letter with reason, step and time."""
    with servers.trial("a study that kills its worker each time") as trial:
        study = servers.send(trial)
        for _ in range(3):
            place = servers.place()
            servers.wait_for_step(study, "localise", place)
            servers.kill_child()
        trial.ends()
        given_up = servers.wait_for_event(study, "not graded", since=place)
    check(recorded=1)
    assert given_up["code"] == "TooManyAttempts"
    record = servers.record(study)
    assert record["step"] == "localise"
    assert record["attempts"] == 3
    assert record["time"]


@pytest.mark.slow
def test_a_study_that_hangs(servers, check):
    """Past the time limit its process is killed, and it is a dead letter; others are graded."""
    with servers.trial("a study that hangs") as trial:
        study = servers.send(trial)
        servers.wait_for_step(study, "localise")
        os.kill(servers.child(), signal.SIGSTOP)
        servers.send(trial)
        given_up = servers.wait_for_event(study, "not graded")
        trial.ends()
    check(recorded=1)
    assert given_up["code"] == "TimeLimit"
    assert servers.record(study)["step"] == "localise"
