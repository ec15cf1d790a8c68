"""Several workers, and several messages about one study."""

import os
import signal
import time

import pytest

from tests.support.faults.harness import announce
from tests.support.faults.kills import RECOVERY_S


@pytest.mark.slow
def test_two_workers(servers, check):
    """Workers that get messages about the same studies at the same time write one report each."""
    with (
        servers.second_worker({"LUMBAR_CONCURRENCY": "2"}) as second,
        servers.trial("two workers with three processes, each study announced four times") as trial,
    ):
        keys = [servers.send(trial) for _ in range(6)]
        for _ in range(3):
            for key in keys:
                announce(servers, key)
        trial.ends()
        servers.wait_for_outcomes(trial)
        assert '"graded"' in second.log_text(), "the second worker had nothing to do"
    check()


@pytest.mark.slow
def test_another_worker_takes_over(servers, check):
    """The study of a worker that is killed is taken up by another within 30 s."""
    with (
        servers.second_worker() as second,
        servers.trial("a worker killed, another takes over") as trial,
    ):
        # Only one of them gets the message.
        study = servers.send(trial)
        servers.wait(lambda: study in second.log_text() or servers.steps(study), "a first step")
        if not servers.steps(study):
            dies, lives = second, servers.worker
        else:
            dies, lives = servers.worker, second
        before = lives.log_text().count(study)
        dies.kill_group()
        trial.ends()
        servers.wait(lambda: lives.log_text().count(study) > before, "the other worker's step")
        assert time.monotonic() - trial.over < RECOVERY_S
        servers.wait_for_outcomes(trial)
    check()


@pytest.mark.slow
def test_a_worker_that_does_not_drain_the_queue_exits(servers, check):
    """A child that neither works nor exits is noticed: the worker exits and is restarted."""
    servers.worker.kill_group()
    with (
        servers.second_worker({"LUMBAR_STALLED_S": "4"}) as second,
        servers.trial("a worker does not drain the queue", heal=False) as trial,
    ):
        os.kill(servers.child(second), signal.SIGSTOP)
        for _ in range(3):
            servers.send(trial)
        assert second.popen.wait(90) != 0
        assert "queue is not draining" in second.log_text()
        second.restart()
        trial.ends()
        servers.wait_for_outcomes(trial)
    check()
