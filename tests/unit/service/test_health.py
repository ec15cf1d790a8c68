"""When the worker is ready and when it lives, decided from what was seen last."""

from __future__ import annotations

import time

import pytest
import redis

from worker.errors import ArchiveUnavailable
from worker.service import health
from worker.service.health import Health, Look
from worker.service.metrics import QueueState

PATIENCE_S = 60


def state(busy_s: float, ended_s: float | None) -> QueueState:
    return QueueState({}, 0.0, 0, 0, 0, busy_s, ended_s, ended_s)


def judge(seen: QueueState) -> Health:
    """Health after Redis and the archive were looked at once."""
    looks = Look("Redis", lambda: seen), Look("the archive", lambda: "Orthanc")
    for look in looks:
        look.once()
        look.lives = lambda: True
    return Health(*looks, {}, PATIENCE_S)


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
    """Idle is ready however long; work that came just now and a long queue are given time."""
    assert (judge(state(busy_s, ended_s)).ready() == []) is ready


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ArchiveUnavailable("Orthanc is away"), "Orthanc is away"),
        (redis.ConnectionError("10.0.0.1"), "X does not answer (ConnectionError)"),
        (KeyError("DOE^JANE"), "X holds what cannot be read (KeyError)"),
    ],
)
def test_a_look_that_fails_says_why_and_looks_again(error, said):
    """Nothing that is found ends the looking; messages that are not ours are not quoted."""
    answers = iter([error, "there"])

    def look() -> str:
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    looked = Look("X", look)
    assert looked.trouble == "X was not asked yet"
    looked.once()
    assert (looked.seen, looked.trouble) == (None, said)
    looked.once()
    assert (looked.seen, looked.trouble) == ("there", "")


def test_what_was_seen_long_ago_is_not_seen(monkeypatch):
    """Whoever hangs while it is asked counts as away, though it answered before."""
    looked = Look("X", lambda: "there")
    looked.once()
    later = time.monotonic() + health.STALE_S + 1
    monkeypatch.setattr(health.time, "monotonic", lambda: later)
    assert (looked.seen, looked.trouble) == (None, "X keeps us waiting")


def test_what_has_ended_is_named():
    """A part that does not live makes it neither live nor ready."""
    judged = judge(state(0, None))
    judged._living = {"the reconciler": lambda: False}
    assert judged.live() == judged.ready() == ["the reconciler has ended"]
