"""The supervisor on a real Redis: who reconciles, and what is logged of a failure."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
import redis
from structlog.testing import capture_logs

from worker.archive import StudyEntry
from worker.errors import ArchiveUnavailable
from worker.service import supervisor as supervisors
from worker.service.events import MetricEvent
from worker.service.jobs import GradeJob
from worker.service.supervisor import Supervisor
from worker.service.supervisor_process import _run
from worker.settings import Settings

PASS_S = 1.5


class SlowReconciler:
    """Takes twice a period for a pass, and counts its passes."""

    def __init__(self, during: Callable[[], None] = lambda: None) -> None:
        self.passes = 0
        self.during = during

    def pending(self, *, on_study: Callable[[StudyEntry], None], **_: object) -> Iterator[None]:
        self.passes += 1
        end = time.monotonic() + 2 * PASS_S
        while time.monotonic() < end:
            on_study(StudyEntry("s", "v"))
            self.during()
            time.sleep(PASS_S / 10)
        yield from ()


@pytest.fixture
def make_supervisor(redis_server) -> Callable[[SlowReconciler], Supervisor]:
    """Makes supervisors of one queue."""
    settings = Settings(
        _env_file=None,
        redis_url=redis_server.url,
        queue=f"q-{uuid4().hex}",
        reconcile_s=PASS_S,
    )

    def make(reconciler: SlowReconciler) -> Supervisor:
        supervisor = Supervisor(settings)
        supervisor._reconciler = reconciler
        return supervisor

    return make


def test_one_supervisor_reconciles_however_long_it_takes(make_supervisor):
    """While one compares studies no other begins; afterwards one may."""
    other = SlowReconciler()
    second = make_supervisor(other)
    make_supervisor(SlowReconciler(during=second.reconcile)).reconcile()
    assert other.passes == 0
    time.sleep(PASS_S)
    second.reconcile()
    assert other.passes == 1


def test_a_failed_task_logs_its_reason():
    """The log contains the reason, not only the name of the error."""

    def reconcile() -> None:
        raise ArchiveUnavailable("the archive: HTTP 503")

    with capture_logs() as logged:
        _run(reconcile)
    assert logged == [
        {
            "event": "task failed",
            "log_level": "warning",
            "task": "reconcile",
            "error": "ArchiveUnavailable",
            "reason": "the archive: HTTP 503",
        }
    ]


def test_unclaimed_studies_are_noticed(make_supervisor, monkeypatch):
    """Only while messages wait and no lease is held; an outage of Redis does not count."""
    one = make_supervisor(SlowReconciler())
    one.tick()
    assert one.unclaimed_s() == 0
    one._queue.send(GradeJob("waits"))
    one.tick()
    time.sleep(0.2)
    one.tick()
    assert one.unclaimed_s() >= 0.2
    with one._leases.hold("other", "{}", 60):
        one.tick()
        assert one.unclaimed_s() == 0
    one.tick()
    time.sleep(0.2)
    with monkeypatch.context() as patch:
        patch.setattr(one._queue, "send_due", away)
        with pytest.raises(redis.ConnectionError):
            one.tick()
    one.tick()
    assert one.unclaimed_s() < 0.2


def test_a_worker_whose_idle_child_gets_no_study_is_stuck(make_supervisor, monkeypatch):
    """Not while the child starts, nor after it died: then another starts."""
    monkeypatch.setattr(supervisors, "_IDLE_S", 0.1)
    one = make_supervisor(SlowReconciler())
    one._queue.send(GradeJob("waits"))
    one.tick()
    time.sleep(0.2)
    one.tick()
    assert not one.is_stuck()
    child = subprocess.Popen(["sleep", "60"])
    one.record(MetricEvent(process=child.pid, bundle="default"))
    assert not one.is_stuck()
    time.sleep(0.2)
    assert one.is_stuck()
    child.kill()
    child.wait()
    assert not one.is_stuck()


def away() -> None:
    raise redis.ConnectionError("away")


def test_a_child_that_loads_its_models_gets_more_time(make_supervisor, monkeypatch):
    """It has reported nothing yet; a ready child that stays silent makes the worker stuck."""
    one = make_supervisor(SlowReconciler())
    one._settings = one._settings.model_copy(update={"stalled_s": 0.1})
    one._queue.send(GradeJob("waits"))
    one.tick()
    time.sleep(0.3)
    one.tick()
    assert not one.is_stuck()
    one.record(MetricEvent(process=os.getpid(), bundle="default"))
    assert not one.is_stuck()
    time.sleep(0.3)
    assert one.is_stuck()
    monkeypatch.setattr(supervisors, "CHILD_START_S", 0.2)
    one._last_event_at.clear()
    assert one.is_stuck()


def test_the_models_of_the_children_are_announced(make_supervisor):
    """From their events, and before the first of them from what the parent passed on."""
    one = make_supervisor(SlowReconciler())
    one.tick()
    assert one._models.current() == set()
    one.record(MetricEvent(process=os.getpid(), bundle="default", bundle_sha256="ab" * 32))
    one.tick()
    assert one._models.current() == {"ab" * 32}
