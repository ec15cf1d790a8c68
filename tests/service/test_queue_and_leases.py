"""The queue and the leases on a real Redis: what goes first, what waits, and who holds a study."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
import redis
from celery import Celery

from tests.support.messages import MALFORMED
from worker.service.active_models import ActiveModels
from worker.service.broker import make_app
from worker.service.jobs import TASK_NAME, GradeJob, Priority
from worker.service.leases import Leases, StudyLeased
from worker.service.queue import Queue
from worker.service.redis_keys import RedisKeys
from worker.settings import Settings

LEASE_S = 0.6
MAX_S = 60.0


@pytest.fixture
def client(redis_server) -> redis.Redis[bytes]:
    return redis.Redis.from_url(redis_server.url)


@pytest.fixture
def name() -> str:
    """A queue that no other test uses."""
    return f"q-{uuid4().hex}"


@pytest.fixture
def app(redis_server, name) -> Iterator[Celery]:
    with make_app(Settings(_env_file=None, redis_url=redis_server.url, queue=name)) as app:
        yield app


@pytest.fixture
def queue(app, client, name) -> Queue:
    return Queue(app, client, name)


@pytest.fixture
def leases(client, name):
    """Leases as another process sees them, each call a new owner."""
    return lambda lease_s=LEASE_S: Leases(client, name, lease_s=lease_s)


def taken_from(app: Celery, name: str, count: int) -> list[tuple[str, int]]:
    """Study and priority of the next messages, in the order in which a worker gets them."""
    got = []
    with app.connection_for_read() as connection:
        simple = connection.SimpleQueue(name)
        for _ in range(count):
            message = simple.get(timeout=5)
            message.ack()
            got.append((message.payload[1]["study"], message.properties["priority"]))
        simple.close()
    return got


def wait_until(condition, timeout_s=20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_a_message_is_the_one_that_the_plugin_sends(queue, client, name):
    """Task, keyword arguments and the time it was sent, under kombu's key of its priority."""
    queue.send(GradeJob("s", retries=2, regrade=True, priority=Priority.URGENT))
    message = json.loads(client.lindex(name, 0))
    assert message["headers"]["task"] == TASK_NAME
    assert abs(message["headers"]["sent"] - time.time()) < 60
    assert message["properties"]["priority"] == Priority.URGENT


def test_urgent_studies_go_first(queue, app, name):
    """In any order of sending, kombu delivers urgent studies before the backlog."""
    for priority in reversed(Priority):
        for study in ("a", "b"):
            queue.send(GradeJob(f"{priority.name}-{study}", priority=priority))
    assert queue.depth() == dict.fromkeys(Priority, 2)
    expected = [(f"{p.name}-{study}", p.value) for p in Priority for study in ("a", "b")]
    assert taken_from(app, name, len(expected)) == expected
    assert queue.depth() == dict.fromkeys(Priority, 0)


def test_a_waiting_study_is_not_sent_twice(queue, app, name, monkeypatch):
    """A job for a study in the queue is not sent; a job to regrade is a different one."""
    assert queue.send_if_absent(GradeJob("s", priority=Priority.BACKLOG))
    assert not queue.send_if_absent(GradeJob("s"))
    assert queue.send_if_absent(GradeJob("other", priority=Priority.BACKLOG))
    assert queue.send_if_absent(GradeJob("s", regrade=True, priority=Priority.BACKLOG))
    assert not queue.send_if_absent(GradeJob("s", regrade=True))
    assert queue.depth()[Priority.BACKLOG] == 3
    monkeypatch.setattr("worker.service.queue._SNAPSHOT_S", 0)
    taken_from(app, name, 3)
    assert queue.send_if_absent(GradeJob("s"))
    assert queue.send_if_absent(GradeJob("s", regrade=True))


def test_messages_of_other_processes_count(queue, app, client, name):
    """A study that the plugin or another supervisor sent is not sent again."""
    Queue(app, client, name).send(GradeJob("s"))
    client.lpush(name, "no message", json.dumps({"body": "AAAA"}))
    assert not queue.send_if_absent(GradeJob("s"))
    assert queue.send_if_absent(GradeJob("other"))


def test_a_study_that_waits_for_a_retry_is_not_sent(queue):
    """Its retries stay counted; other studies, and a job to regrade it, are sent."""
    queue.schedule(GradeJob("s", retries=5), 3600)
    assert not queue.send_if_absent(GradeJob("s"))
    assert queue.send_if_absent(GradeJob("s", regrade=True))
    assert queue.send_if_absent(GradeJob("other"))


def test_what_could_not_be_sent_does_not_count(queue, monkeypatch):
    """If Redis is unavailable while sending, the next pass sends the study."""
    with monkeypatch.context() as patch:
        patch.setattr(queue, "_app", make_app(Settings(redis_url="redis://127.0.0.1:1/0")))
        with pytest.raises(redis.RedisError):
            queue.send_if_absent(GradeJob("s"))
    assert queue.send_if_absent(GradeJob("s"))


def test_a_job_to_regrade_is_not_lost_behind_another(queue):
    """A plain job that is scheduled later keeps the request to regrade and the priority."""
    queue.schedule(GradeJob("s", regrade=True, priority=Priority.URGENT), 3600)
    queue.schedule(GradeJob("s", retries=2, priority=Priority.BACKLOG), 0)
    assert queue.scheduled() == [GradeJob("s", 2, True, Priority.URGENT)]
    assert [job for job, _ in queue.send_due()] == [GradeJob("s", 2, True, Priority.URGENT)]


def test_a_wait_ends_by_redis_clock(queue, client, monkeypatch):
    """Jobs that are due are sent once and complete; the local clock does not matter."""
    soon, late = GradeJob("soon", 3, True, Priority.RECENT), GradeJob("late")
    queue.schedule(late, 3600)
    queue.schedule(soon, 0)
    assert queue.scheduled() == [soon, late]
    monkeypatch.setattr("worker.service.queue.time.time", lambda: time.monotonic() + 1e12)
    assert [job for job, _ in queue.send_due()] == [soon]
    assert list(queue.send_due()) == []
    assert queue.depth()[Priority.RECENT] == 1
    assert queue.scheduled() == [late]
    seconds, _ = client.time()
    monkeypatch.setattr(client, "time", lambda: (seconds + 3601, 0))
    assert [job for job, _ in queue.send_due()] == [late]


def test_a_wait_survives_a_send_that_fails(queue, monkeypatch):
    """A job stays scheduled until it is in the queue."""
    queue.schedule(GradeJob("s"), 0)
    with monkeypatch.context() as patch:
        patch.setattr("worker.service.queue._CLAIM_S", 0)
        patch.setattr(queue, "_app", make_app(Settings(redis_url="redis://127.0.0.1:1/0")))
        with pytest.raises(redis.RedisError):
            list(queue.send_due())
    assert [job.study for job, _ in queue.send_due()] == ["s"]


def test_the_age_of_the_oldest(queue, monkeypatch):
    """Over all priorities, and never below zero when a clock was set back."""
    assert queue.oldest_age_s() == 0
    now = time.time()
    for age_s, priority in ((-50, Priority.NEW), (100, Priority.URGENT), (300, Priority.BACKLOG)):
        monkeypatch.setattr("worker.service.queue.time.time", lambda age_s=age_s: now - age_s)
        queue.send(GradeJob("s", priority=priority))
    monkeypatch.setattr("worker.service.queue.time.time", lambda: now)
    assert queue.oldest_age_s() == pytest.approx(300)
    monkeypatch.setattr("worker.service.queue.time.time", lambda: now - 1e6)
    assert queue.oldest_age_s() == 0


def test_one_owner_at_a_time(leases):
    """A second worker is refused, the owner is informed, and then the study is free."""
    one, two = leases(), leases()
    with one.hold("s", "one", MAX_S) as lease:
        with pytest.raises(StudyLeased), two.hold("s", "two", MAX_S):
            pass
        with two.hold("other", "two", MAX_S):
            assert sorted(one.running()) == ["other", "s"]
    assert lease.requested_again
    with two.hold("s", "two", MAX_S) as lease:
        pass
    assert not lease.requested_again
    assert one.running() == []


def test_a_failed_study_releases_its_lease(leases):
    """After an error in the body nothing is left to be recovered."""
    with pytest.raises(ValueError, match="broken"), leases().hold("s", "", MAX_S):
        raise ValueError("broken")
    assert leases().running() == []
    with leases().hold("s", "", MAX_S):
        pass


def test_a_lease_is_renewed(leases):
    """It does not expire, and the study is not abandoned, while its owner runs."""
    other = leases()
    with leases().hold("s", "", MAX_S):
        deadline = time.monotonic() + 4 * LEASE_S
        while time.monotonic() < deadline:
            assert list(other.abandoned()) == []
            time.sleep(LEASE_S / 10)


def test_no_longer_than_the_time_limit(leases):
    """A worker that hangs loses its study, which is sent again with its job."""
    other, release = leases(), threading.Event()
    hung = threading.Thread(target=lambda: _hold_until(leases(), release))
    hung.start()
    try:
        back = []
        wait_until(lambda: back.extend(other.abandoned()) or back)
        assert back == ["job"]
    finally:
        release.set()
        hung.join()


def _hold_until(leases: Leases, release: threading.Event) -> None:
    with leases.hold("s", "job", 0.0):
        release.wait(30)


@contextmanager
def dead_owner(leases: Leases, client, name) -> Iterator[None]:
    """A study whose owner was killed: its lease has expired without being released."""
    with leases.hold("s", "job", MAX_S):
        jobs_by_study = client.hgetall(f"{name}:running")
    client.hset(f"{name}:running", mapping=jobs_by_study)
    yield


def test_a_dead_workers_study_is_recovered_by_one_supervisor(leases, client, name):
    """Of many that look at the same time one gets the job, and the study is free."""
    with dead_owner(leases(), client, name):
        supervisors = [leases() for _ in range(8)]
        jobs: list[str] = []
        start = threading.Barrier(len(supervisors))

        def recover(supervisor: Leases) -> None:
            start.wait()
            jobs.extend(supervisor.abandoned())

        threads = [
            threading.Thread(target=recover, args=(supervisor,)) for supervisor in supervisors
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert jobs == ["job"]
    with leases().hold("s", "", MAX_S) as lease:
        pass
    assert not lease.requested_again


def test_a_process_that_is_being_killed_releases_nothing(leases):
    """The SIGTERM of the time limit arrives as SystemExit: the study is recovered later."""
    with pytest.raises(SystemExit), leases().hold("s", "job", MAX_S):
        raise SystemExit(1)
    back = []
    wait_until(lambda: back.extend(leases().abandoned()) or back)
    assert back == ["job"]


def test_a_supervisor_that_dies_leaves_the_study_to_the_next(leases, client, name, monkeypatch):
    """Only a study that was sent is removed."""
    with dead_owner(leases(), client, name):
        first = leases().abandoned()
        assert next(first) == "job"
        assert list(leases().abandoned()) == []
        first.close()
        back = []
        wait_until(lambda: back.extend(leases().abandoned()) or back)
    assert back == ["job"]
    assert leases().running() == []


def test_a_study_that_is_taken_while_a_supervisor_sends_it_is_not_removed(leases, client, name):
    """The new owner's job stays, in case that it dies, too."""
    with dead_owner(leases(), client, name):
        jobs = leases().abandoned()
        assert next(jobs) == "job"
        with leases().hold("s", "new", MAX_S):
            assert list(jobs) == []
            assert client.hget(f"{name}:running", "s") == b"new"


def test_a_lease_is_restored_after_a_loss_of_data(leases, client, name):
    """The owner writes its lease again: others are refused, and its death is noticed."""
    with leases().hold("s", "job", MAX_S):
        keys = client.keys(f"{name}:*")
        assert keys
        client.delete(*keys)
        wait_until(lambda: client.exists(f"{name}:lease:s"))
        assert client.hgetall(f"{name}:running") == {b"s": b"job"}
        with pytest.raises(StudyLeased), leases().hold("s", "", MAX_S):
            pass
    assert leases().running() == []


def test_an_owner_that_lost_its_lease_does_not_take_it_back(leases, client, name):
    """After a loss of data another process took it: that lease stays when the first one ends."""
    first, second = leases(), leases(30.0)
    with first.hold("s", "first", MAX_S) as lost:
        client.delete(f"{name}:lease:s")
        with second.hold("s", "second", MAX_S):
            time.sleep(LEASE_S)  # the first has tried to keep what it lost
            assert client.hget(f"{name}:running", "s") == b"second"
            owner = client.get(f"{name}:lease:s")
            with pytest.raises(StudyLeased), first.hold("s", "", MAX_S):
                pass
            assert client.get(f"{name}:lease:s") == owner
    assert not lost.requested_again


def test_grading_does_not_need_a_lease(name):
    """Without a Redis there is no lease, and the body runs."""
    unavailable = redis.Redis.from_url("redis://127.0.0.1:1/0", socket_timeout=1)
    with Leases(unavailable, name).hold("s", "", MAX_S) as lease:
        pass
    assert not lease.requested_again


def test_models_are_current_as_long_as_they_are_announced(client, name, monkeypatch):
    """Those in use at one queue, each once; those of a worker that stopped expire."""
    models = ActiveModels(client, name)
    assert models.current() == set()
    for bundle in ("old", "new", "new"):
        models.announce(bundle)
    assert models.current() == {"old", "new"}
    assert ActiveModels(client, f"{name}-other").current() == set()
    seconds, _ = client.time()
    monkeypatch.setattr(client, "time", lambda: (seconds + 20, 0))
    models.announce("new")
    assert models.current() == {"new"}


@pytest.mark.parametrize("entry", MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_message_is_dropped(app, client, queue, name, entry, capsys):
    """It reaches no task and does not come back; the next message does."""
    key = RedisKeys(name).messages(Priority.NEW)
    client.rpush(key, entry)
    assert queue.oldest_age_s() == 0
    queue.send_if_absent(GradeJob("good"))
    assert taken_from(app, name, 1) == [("good", Priority.NEW)]
    assert not client.llen(key)


@pytest.mark.parametrize(
    "stored",
    [b"no JSON", b'{"study": "a/b"}', b'{"study": 1}', b"{}", b'{"study": "' + b"a" * 9000],
)
def test_a_malformed_stored_job_is_dropped(app, client, queue, name, stored):
    """Neither listed nor sent, and gone afterwards; the others are sent."""
    keys = RedisKeys(name)
    client.zadd(keys.retry_due, {"bad": 0})
    client.hset(keys.retry_jobs, "bad", stored)
    queue.schedule(GradeJob("good"), 0)
    assert queue.scheduled() == [GradeJob("good")]
    assert [job for job, _ in queue.send_due()] == [GradeJob("good")]
    assert not client.zcard(keys.retry_due)
