"""A worker that is killed, in each step of a study, or told to stop."""

import signal

import pytest

from tests.support.faults import proxy
from tests.support.faults.harness import STEPS
from tests.support.faults.kills import kill_the_parent


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
