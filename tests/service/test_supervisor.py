"""The keeper's own rules, on a real Redis: whose turn it is, and what it says of a failure."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
import redis
from structlog.testing import capture_logs

from worker.archive import HeldStudy
from worker.errors import ArchiveUnavailable
from worker.service import supervisor as keepers
from worker.service.events import News
from worker.service.queue import Order
from worker.service.supervisor import Keeper
from worker.settings import Settings

PASS_S = 1.5


class SlowReconciler:
    """Looks at studies for twice as long as a period, and counts its passes."""

    def __init__(self, during: Callable[[], None] = lambda: None) -> None:
        self.passes = 0
        self.during = during

    def owed(self, *, looked: Callable[[HeldStudy], None], **_: object) -> Iterator[None]:
        self.passes += 1
        end = time.monotonic() + 2 * PASS_S
        while time.monotonic() < end:
            looked(HeldStudy("s", "v"))
            self.during()
            time.sleep(PASS_S / 10)
        yield from ()


@pytest.fixture
def keeper(redis_server) -> Callable[[SlowReconciler], Keeper]:
    """Makes keepers of one queue."""
    settings = Settings(
        _env_file=None,
        redis_url=redis_server.url,
        queue=f"q-{uuid4().hex}",
        reconcile_s=PASS_S,
    )

    def make(reconciler: SlowReconciler) -> Keeper:
        keeper = Keeper(settings)
        keeper._reconciler = reconciler
        return keeper

    return make


def test_one_keeper_reconciles_however_long_it_takes(keeper):
    """While one goes from study to study no other begins; afterwards one may."""
    other = SlowReconciler()
    second = keeper(other)
    keeper(SlowReconciler(during=second.reconcile)).reconcile()
    assert other.passes == 0
    time.sleep(PASS_S)
    second.reconcile()
    assert other.passes == 1


def test_why_work_was_put_off_is_said():
    """The reason stands in the log, not the error's name alone."""

    def reconcile() -> None:
        raise ArchiveUnavailable("the archive answers HTTP 503")

    with capture_logs() as logged:
        keepers._try(reconcile)
    assert logged == [
        {
            "event": "put off",
            "log_level": "warning",
            "work": "reconcile",
            "error": "ArchiveUnavailable",
            "reason": "the archive answers HTTP 503",
        }
    ]


def test_studies_that_nobody_takes_are_noticed(keeper, monkeypatch):
    """Only while messages wait and no lease is held; a Redis that was away is no such time."""
    one = keeper(SlowReconciler())
    one.tick()
    assert one.left_s() == 0
    one._queue.send(Order("waits"))
    one.tick()
    time.sleep(0.2)
    one.tick()
    assert one.left_s() >= 0.2
    with one._leases.hold("other", "{}", 60):
        one.tick()
        assert one.left_s() == 0
    one.tick()
    time.sleep(0.2)
    with monkeypatch.context() as patch:
        patch.setattr(one._queue, "send_due", away)
        with pytest.raises(redis.ConnectionError):
            one.tick()
    one.tick()
    assert one.left_s() < 0.2


def test_a_worker_whose_ready_child_gets_nothing_is_stuck(keeper, monkeypatch):
    """Not while the child starts, nor after it has died: then another starts."""
    monkeypatch.setattr(keepers, "_IDLE_S", 0.1)
    one = keeper(SlowReconciler())
    one._queue.send(Order("waits"))
    one.tick()
    time.sleep(0.2)
    one.tick()
    assert not one.stuck()
    child = subprocess.Popen(["sleep", "60"])
    one.take(News(process=child.pid, bundle="default"))
    assert not one.stuck()
    time.sleep(0.2)
    assert one.stuck()
    child.kill()
    child.wait()
    assert not one.stuck()


def away() -> None:
    raise redis.ConnectionError("away")
