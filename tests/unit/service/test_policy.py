"""The error tree's policy, decided in the task, with fakes in place of archive and pipeline."""

import contextlib

import pytest
import redis
from celery.exceptions import Reject
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from worker import errors
from worker.service import queue, tasks
from worker.service.attempts import Deliveries, GivenUp
from worker.service.broker import make_app
from worker.service.leases import Lease, StudyTaken
from worker.service.records import Kind, Outcome
from worker.service.runtime import Runtime
from worker.settings import Settings


class FakeRedis:
    def __init__(self):
        self.counts = {}

    def incrby(self, name, amount):
        self.counts[name] = self.counts.get(name, 0) + amount
        return self.counts[name]

    def expire(self, name, time):
        pass

    def set(self, name, value, *, ex):
        self.counts[name] = value.encode()

    def get(self, name):
        return self.counts.get(name)

    def delete(self, *names):
        for name in names:
            self.counts.pop(name, None)


class FakeArchive:
    away = False

    def check(self):
        if self.away:
            raise errors.ArchiveUnavailable("away")


class FakeGrading:
    """Ends as it is told; keeps what was given up."""

    def __init__(self):
        self.archive = FakeArchive()
        self.ending = Outcome.GRADED
        self.kept = []
        self.keeps = True

    def sources(self, study):
        return "sources"

    def grade(self, study, sources, *, regrade, observe):
        observe("localise")
        if isinstance(self.ending, BaseException):
            raise self.ending
        return self.ending

    def give_up(self, study, sources, kind, **details):
        if not self.keeps:
            raise errors.ArchiveUnavailable("away")
        self.kept.append((study, kind, details))


class FakeQueue:
    def __init__(self):
        self.sent, self.put_off = [], []

    def send(self, order):
        self.sent.append(order)

    def later(self, order, wait_s):
        self.put_off.append((order, wait_s))


class FakeLeases:
    taken = False
    again = False

    @contextlib.contextmanager
    def hold(self, study, words, most_s):
        if self.taken:
            raise StudyTaken
        lease = Lease()
        yield lease
        lease.again = self.again


class FakeNote:
    def __init__(self):
        self.noted = []

    def stop(self, error):
        self.noted.append(error)


class Killed(BaseException):
    """What no code sees: the process has gone."""


@pytest.fixture
def worker(monkeypatch):
    """A task to call, what it left behind, and how to make the grading end."""
    monkeypatch.setattr(tasks, "PATIENCE_S", 0.02)
    monkeypatch.setattr(tasks, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(queue, "FIRST_WAIT_S", 0.01)

    class Worker:
        def __init__(self):
            self.grading, self.queue, self.leases = FakeGrading(), FakeQueue(), FakeLeases()
            self.redis, self.note = FakeRedis(), FakeNote()
            deliveries = Deliveries(self.redis, "q", most=3)
            self.here = Runtime(self.grading, deliveries, self.leases, self.queue, 2, 60.0)
            app = make_app(Settings(_env_file=None))
            self.task = tasks.register(app, self.runtime, self.note, deliveries, self.leases)

        def runtime(self):
            if self.here is None:
                raise errors.BundleMissing("no bundle")
            return self.here

        def __call__(self, **order):
            self.task.push_request(id="m", called_directly=False, args=(), kwargs={})
            with capture_logs() as logs:
                try:
                    self.task.run(study="s", **order)
                finally:
                    self.logs = [line for line in logs if line["event"] != "step"]

        def events(self):
            return [line["event"] for line in self.logs]

    return Worker()


def leaves(kind):
    below = kind.__subclasses__()
    return [kind, *(leaf for k in below for leaf in leaves(k))]


@pytest.mark.parametrize("kind", leaves(errors.Transient))
def test_transient_is_tried_again_and_then_a_dead_letter(worker, kind):
    """Every transient error waits longer each time; when the tries are used up it is kept."""
    worker.grading.ending = kind("away")
    worker()
    worker(tries=1, regrade=True)
    (first, soon), (second, late) = worker.queue.put_off
    assert (first.tries, second.tries, second.regrade) == (1, 2, True)
    assert 0.005 <= soon <= 0.01 <= late <= 0.02
    assert not worker.grading.kept
    worker(tries=2)
    ((study, kept, details),) = worker.grading.kept
    assert (study, kept) == ("s", Kind.FAILED)
    assert (details["code"], details["step"], details["tries"]) == (kind.__name__, "localise", 3)


def test_an_archive_that_is_away_for_all_costs_no_study_a_try(worker):
    """However long it is away, the study waits for it and is never given up."""
    worker.grading.ending = errors.ArchiveUnavailable("away")
    worker.grading.archive.away = True
    worker(tries=2)
    ((order, _),) = worker.queue.put_off
    assert order.tries == 2
    assert not worker.grading.kept


@pytest.mark.parametrize("kind", leaves(errors.Rejected))
def test_rejected_is_acknowledged_with_its_reason(worker, kind):
    """Every rejection ends the message; log and record keep why."""
    worker.grading.ending = kind("no lumbar series")
    worker()
    assert worker.logs[-1]["event"] == "not graded"
    assert worker.logs[-1]["reason"] == "no lumbar series"
    ((_, kept, details),) = worker.grading.kept
    assert kept is (Kind.FAILED if issubclass(kind, GivenUp) else Kind.REJECTED)
    assert details["reason"] == "no lumbar series"
    assert not worker.note.noted


def test_a_reason_that_cannot_be_kept_is_not_lost(worker):
    """Where the archive cannot take the record, the study is looked at again."""
    worker.grading.ending = errors.NotLumbar("x")
    worker.grading.keeps = False
    worker()
    ((order, wait_s),) = worker.queue.put_off
    assert (order.study, wait_s) == ("s", queue.LONGEST_WAIT_S)


def test_a_verdict_on_a_killer_that_cannot_be_kept_is_not_forgotten(worker):
    """Otherwise it would kill as many processes again."""
    worker.redis.counts["q:tries:s"] = 3
    worker.grading.keeps = False
    worker()
    worker()
    assert [line["code"] for line in worker.logs if "code" in line] == ["TooManyDeliveries"]


@pytest.mark.parametrize("kind", leaves(errors.Misconfigured))
def test_misconfigured_stops_the_worker_and_keeps_the_study(worker, kind):
    """A wrong installation stops the worker, and the study waits in the queue for the next one."""
    worker.grading.ending = kind("set LUMBAR_X")
    with pytest.raises(Reject) as raised:
        worker()
    assert raised.value.requeue
    assert [str(e) for e in worker.note.noted] == ["set LUMBAR_X"]


def test_a_child_that_could_not_start_keeps_the_study(worker):
    """Without a runtime no message is consumed."""
    worker.here = None
    with pytest.raises(Reject) as raised:
        worker()
    assert raised.value.requeue


def test_redis_away_keeps_the_message(worker, monkeypatch):
    """Where a next try cannot be put into Redis, the message itself goes back."""

    def away(order, wait_s):
        raise redis.ConnectionError("away")

    worker.grading.ending = errors.DeviceBusy("full")
    monkeypatch.setattr(worker.queue, "later", away)
    with pytest.raises(Reject) as raised:
        worker()
    assert raised.value.requeue


def test_redis_away_in_the_midst_is_no_failure_of_the_study(worker):
    """With DICOMweb the records lie in Redis: its absence gives the message back, no verdict."""
    worker.grading.ending = redis.ConnectionError("away")
    with pytest.raises(Reject) as raised:
        worker()
    assert raised.value.requeue
    assert not worker.grading.kept


def test_an_end_that_redis_did_not_hear_is_told_later(worker, monkeypatch):
    """A Redis that is away again and again makes no killer of the study."""
    worker.grading.ending = errors.DeviceBusy("full")
    delete = worker.redis.delete

    def away(*names):
        raise redis.ConnectionError("away")

    for _ in range(5):
        monkeypatch.setattr(worker.redis, "delete", away)
        worker()
        monkeypatch.setattr(worker.redis, "delete", delete)
    worker.grading.ending = Outcome.GRADED
    worker()
    assert worker.events() == ["done"]
    assert worker.redis.counts == {}


def test_our_own_mistake_is_a_dead_letter_without_its_message(worker):
    """An unknown error ends the study; its message, which may quote a header, is kept nowhere."""
    worker.grading.ending = KeyError("DOE^JANE")
    worker()
    assert "not graded" in worker.events()
    ((_, kept, details),) = worker.grading.kept
    assert (kept, details["code"]) == (Kind.FAILED, "KeyError")
    logged = [{k: v for k, v in event.items() if k != "exc_info"} for event in worker.logs]
    assert "DOE" not in f"{logged}{details}"


def test_a_study_that_another_worker_grades_is_left_to_it(worker):
    """The second message about a study starts nothing and fails nothing."""
    worker.leases.taken = True
    worker()
    assert worker.events() == ["put off"]


def test_an_order_to_regrade_waits_for_the_other_worker(worker):
    """What the other worker sends again is no such order, so this one is not dropped."""
    worker.leases.taken = True
    worker(regrade=True)
    assert [order.regrade for order, _ in worker.queue.put_off] == [True]


def test_a_study_asked_for_while_it_was_graded_is_sent_again(worker):
    """What came while a study was being graded is looked at after that, from its first try."""
    worker.leases.again = True
    worker(tries=1)
    assert [(order.study, order.tries) for order in worker.queue.sent] == [("s", 0)]


def test_a_study_that_kills_its_process_is_given_up(worker):
    """A try that never ended counts; past the cap the study is a dead letter that says where."""
    worker.grading.ending = Killed()
    for _ in range(3):
        with pytest.raises(Killed):
            worker()
    worker()
    assert worker.logs[-1]["code"] == "TooManyDeliveries"
    ((_, kept, details),) = worker.grading.kept
    assert (kept, details["tries"], details["step"]) == (Kind.FAILED, 3, "localise")
    worker.grading.ending = Outcome.GRADED
    worker()
    assert worker.events() == ["done"]


def test_a_study_that_ran_into_the_time_limit_is_given_up(worker):
    """The parent, which kills it, leaves word; the next try does not begin."""
    worker.grading.ending = Killed()
    with pytest.raises(Killed):
        worker()
    worker.here.deliveries.overdue("s")
    worker()
    assert worker.logs[-1]["code"] == "TimeLimit"
    ((_, _, details),) = worker.grading.kept
    assert (details["tries"], details["step"]) == (1, "localise")


@pytest.mark.parametrize(
    "ending", [Outcome.GRADED, errors.NotLumbar("x"), errors.BadSettings("x"), KeyError("x")]
)
def test_an_orderly_end_is_not_counted(worker, ending):
    """However a try ends, short of a killed process, no count stays behind."""
    worker.grading.ending = ending
    with contextlib.suppress(Reject):
        worker()
    assert worker.redis.counts == {}


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_waits_grow_within_bounds(retries, chance):
    """A wait is between half and all of the doubled one, and never over ten minutes."""
    wait = queue.wait_s(retries, lambda: chance)
    full = min(queue.LONGEST_WAIT_S, queue.FIRST_WAIT_S * 2 ** min(retries, 20))
    assert full / 2 <= wait <= full
