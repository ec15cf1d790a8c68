"""The error tree's policy, decided in the task, with fakes in place of archive and pipeline."""

import contextlib

import pytest
from celery.exceptions import Reject, Retry
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from worker import errors
from worker.service import deliveries, tasks
from worker.service.app import make_app
from worker.service.grading import Outcome
from worker.settings import Settings


class FakeRedis:
    def __init__(self):
        self.counts = {}

    def incr(self, name):
        self.counts[name] = self.counts.get(name, 0) + 1
        return self.counts[name]

    def expire(self, name, time):
        pass

    def delete(self, name):
        self.counts.pop(name, None)


class FakeRuntime:
    def __init__(self, grade, most=3):
        self.grade = grade
        self.redis = FakeRedis()
        self.deliveries = deliveries.Deliveries(self.redis, most=most)


class FakeChild:
    def __init__(self, runtime):
        self.found = runtime

    def runtime(self):
        if self.found is None:
            raise errors.BundleMissing("no bundle")
        return self.found


class FakeNote:
    def __init__(self):
        self.noted = []

    def stop(self, error):
        self.noted.append(error)


@pytest.fixture
def worker(monkeypatch):
    """A task to call, its note, its counters, and how to make the grading end."""

    class Worker:
        def __init__(self):
            self.runtime, self.note, self.retries = FakeRuntime(self.grade), FakeNote(), 0
            self.ending = Outcome.GRADED

        def grade(self, study, observe):
            if isinstance(self.ending, BaseException):
                raise self.ending
            return self.ending

        def __call__(self, message="m"):
            app = make_app(Settings(_env_file=None), FakeChild(self.runtime), self.note)
            task = app.tasks[tasks.TASK_NAME]
            task.push_request(
                id=message, retries=self.retries, called_directly=False, args=(), kwargs={}
            )
            monkeypatch.setattr(type(task), "signature_from_request", lambda *_, **__: Sent())
            with capture_logs() as logs:
                try:
                    task.run(study="s")
                finally:
                    self.logs = logs

        def events(self):
            return [line["event"] for line in self.logs]

    class Sent:
        def apply_async(self):
            pass

    return Worker()


def leaves(kind):
    below = kind.__subclasses__()
    return [kind, *(leaf for k in below for leaf in leaves(k))]


@pytest.mark.parametrize("kind", leaves(errors.Transient))
def test_transient_goes_back_to_the_queue(worker, kind):
    """Every transient error is tried again, until the tries are used up and the reason is kept."""
    worker.ending = kind("away")
    with pytest.raises(Retry):
        worker()
    worker.retries = Settings(_env_file=None).max_retries
    worker()
    assert worker.events() == ["not graded"]
    assert worker.logs[0]["code"] == kind.__name__


@pytest.mark.parametrize("kind", leaves(errors.Rejected))
def test_rejected_is_acknowledged_with_its_reason(worker, kind):
    """Every rejection ends the message, and the log keeps why."""
    worker.ending = kind("no lumbar series")
    worker()
    assert worker.logs[-1]["event"] == "not graded"
    assert worker.logs[-1]["reason"] == "no lumbar series"
    assert not worker.note.noted


@pytest.mark.parametrize("kind", leaves(errors.Misconfigured))
def test_misconfigured_stops_the_worker_and_keeps_the_study(worker, kind):
    """A wrong installation stops the worker, and the study waits in the queue for the next one."""
    worker.ending = kind("set LUMBAR_X")
    with pytest.raises(Reject) as raised:
        worker()
    assert raised.value.requeue
    assert [str(e) for e in worker.note.noted] == ["set LUMBAR_X"]


def test_a_child_that_could_not_start_keeps_the_study(worker):
    """Without a runtime no message is consumed."""
    worker.runtime = None
    with pytest.raises(Reject) as raised:
        worker()
    assert raised.value.requeue


def test_our_own_mistake_is_logged_without_its_message(worker):
    """An unknown error ends the study; its message, which may quote a header, is not logged."""
    worker.ending = KeyError("DOE^JANE")
    worker()
    assert "not graded" in worker.events()
    assert "DOE" not in str([{k: v for k, v in e.items() if k != "exc_info"} for e in worker.logs])


def test_a_study_that_kills_its_process_is_given_up(worker):
    """A delivery that never ended counts; past the cap the study is rejected, others are not."""

    class Killed(BaseException):
        pass

    worker.ending = Killed()
    for _ in range(3):
        with pytest.raises(Killed):
            worker("killer")
    worker("killer")
    assert worker.logs[-1]["code"] == "TooManyDeliveries"
    worker.ending = Outcome.GRADED
    worker("another")
    assert worker.events() == ["done"]


@pytest.mark.parametrize(
    "ending", [Outcome.GRADED, errors.NotLumbar("x"), errors.BadSettings("x"), KeyError("x")]
)
def test_an_orderly_end_is_not_counted(worker, ending):
    """However a delivery ends, short of a killed process, no count stays behind."""
    worker.ending = ending
    with contextlib.suppress(Reject):
        worker()
    assert worker.runtime.redis.counts == {}


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_waits_grow_within_bounds(retries, chance):
    """A wait is between half and all of the doubled one, and never over ten minutes."""
    wait = tasks.wait_s(retries, lambda: chance)
    full = min(tasks.LONGEST_WAIT_S, tasks.FIRST_WAIT_S * 2 ** min(retries, 20))
    assert full / 2 <= wait <= full
