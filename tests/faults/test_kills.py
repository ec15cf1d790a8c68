"""A worker that is killed, in each step of a study."""

import os
import signal

import pytest

from tests.support.faults import proxy
from tests.support.faults.harness import STEPS
from tests.support.faults.kills import kill_the_child, kill_the_parent


@pytest.mark.parametrize("step", STEPS)
def test_the_child_is_killed(step, servers, check):
    """The study of a child that dies in a step is graded once by the next."""
    study = kill_the_child(servers, step)
    check()
    servers.wait_for_event(study, "child process died")


@pytest.mark.parametrize("step", STEPS)
def test_the_parent_is_killed(step, servers, check):
    """A killed worker that is restarted grades its study again within 30 s."""
    kill_the_parent(servers, step)
    check()


def test_the_worker_is_told_to_stop(servers, check):
    """SIGTERM during a study: the worker exits, and the study is graded or returned."""
    with servers.trial("SIGTERM during a study") as trial:
        study = servers.send(trial)
        servers.wait_for_step(study, "localise")
        servers.worker.popen.send_signal(signal.SIGTERM)
        assert servers.worker.popen.wait(90) == 0
        trial.ends()
    check()


def test_the_worker_is_told_to_stop_and_the_study_takes_too_long(servers, check):
    """After LUMBAR_STOP_S the study returns to the queue, and the next worker grades it."""
    with servers.trial("SIGTERM during a study that takes too long") as trial:
        with servers.proxy.doing(proxy.SLOW):
            study = servers.send(trial)
            servers.wait_for_step(study, "pixels")
            servers.worker.popen.send_signal(signal.SIGTERM)
            servers.worker.popen.wait(30)
        assert "returned to the queue" in servers.worker.log_text()
        assert "read back" not in servers.steps(study)
        trial.ends()
    check()


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
