"""Redis that is unavailable, comes back, or comes back with nothing."""

import time
from collections.abc import Sequence
from datetime import datetime

import pytest

from tests.support.faults import proxy
from tests.support.faults.harness import SETTINGS, Servers, queue_of
from tests.support.faults.proxy import FILES, Fault


def test_redis_comes_back_with_its_data(servers, check):
    """Redis is killed during a study while another arrives: both are graded once."""
    with servers.trial("Redis killed and restarted with its data") as trial:
        first = servers.send(trial)
        servers.wait_for_step(first, "localise")
        servers.redis.process.kill()
        servers.send(trial)
        servers.orthanc.process.wait_until(
            lambda: "Redis unavailable" in servers.orthanc.process.log_text()
        )
        servers.redis.process.restart()
        trial.ends()
    check()


def test_redis_is_away_when_a_study_ends(servers, check):
    """The message is redelivered, and the worker goes on with the next study."""
    with servers.trial("Redis away while a study ends") as trial:
        with servers.proxy.doing(proxy.SLOW):
            study = servers.send(trial)
            servers.wait_for_step(study, "read back")
            servers.redis.process.kill()
        servers.wait_for_event(study, "done")
        time.sleep(0.2)  # the acknowledgement follows; a longer absence would be noticed anyway
        servers.redis.process.restart()
        servers.send(trial)
        trial.ends()
    check()


RECONCILE_S = float(SETTINGS["LUMBAR_RECONCILE_S"])
GRADING_S = 30.0
"""An upper limit for the grading of three studies on a busy machine."""


def seconds_until_found(servers: Servers, studies: Sequence[str], since: float) -> float:
    """Wait until reconciliation has queued these studies; seconds after `since`, for the last."""
    found = [servers.wait_for_event(study, "reconciled") for study in studies]
    return max(datetime.fromisoformat(event["timestamp"]).timestamp() for event in found) - since


@pytest.mark.parametrize("orthanc_restarts", [False, True], ids=["", "Orthanc restarts"])
def test_redis_is_unavailable_when_studies_arrive(orthanc_restarts, servers, check):
    """Studies that could not be announced are found one reconcile period after Redis is back.

    An outage that outlasts a restart of Orthanc changes nothing: what Orthanc stores is enough.
    """
    fault = "Redis away while studies arrive" + (", Orthanc restarted" if orthanc_restarts else "")
    with servers.trial(fault) as trial:
        orthanc = servers.orthanc.process
        servers.redis.process.kill()
        studies = [servers.send(trial) for _ in range(3)]
        for study in studies:
            line = f"will be found by reconciliation study={study}"
            orthanc.wait_until(lambda line=line: line in orthanc.log_text())
        if orthanc_restarts:
            orthanc.kill()
            orthanc.restart()
        # The reconciler leaves alone what changed within its last period.
        time.sleep(RECONCILE_S)
        servers.redis.process.restart()
        trial.ends()
        back = time.time()
        # One more second for the pass itself, which lists and compares all studies.
        assert seconds_until_found(servers, studies, back) < RECONCILE_S + 1
        servers.wait_for_outcomes(trial)
        assert trial.seconds < RECONCILE_S + GRADING_S
    check()


def dead_letter(servers: Servers, study: str) -> dict:
    """The entry of a study in the list of those that were given up."""
    return queue_of(servers).hgetall("lumbar:failures").get(study.encode())


def test_redis_comes_back_empty(servers, check):
    """Dead letters stay dead letters, their index is restored, and waiting studies are graded."""
    servers.wait_until_quiet()  # the files of other studies cannot be had either
    with servers.trial("three studies whose files cannot be had") as trial:
        with servers.proxy.doing(Fault(only=FILES, status=503)):
            dead = [servers.send(trial) for _ in range(3)]
            servers.wait_for_outcomes(trial)
        trial.ends()
    check(recorded=3)
    records = [servers.record(study) for study in dead]
    for record in records:
        assert record["kind"] == "failed"
        assert (record["code"], record["step"]) == ("ArchiveUnavailable", "pixels")
        assert record["attempts"] == 3

    with servers.trial("Redis killed and restarted empty") as trial:
        trial.sent.extend(servers.trials[-2].sent)
        place = servers.place()
        study = servers.send(trial)
        servers.wait_for_step(study, "localise")
        servers.wipe_redis()
        trial.ends()
        servers.wait(lambda: all(dead_letter(servers, s) for s in dead), "the list of failures")
    check(recorded=3)
    assert [servers.record(study) for study in dead] == records
    assert not any(servers.steps(study, place) for study in dead)
