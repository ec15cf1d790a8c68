"""The retry policy of the error tree, with fakes in place of archive and pipeline."""

import contextlib

import pytest
import redis
from celery.exceptions import Reject
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from worker import errors
from worker.service import queue, tasks
from worker.service.attempts import Attempts, DeadLetter
from worker.service.broker import make_app
from worker.service.leases import Lease, StudyLeased
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
    """Ends as a test sets it; keeps the recorded failures."""

    def __init__(self):
        self.archive = FakeArchive()
        self.ending = Outcome.GRADED
        self.failures = []
        self.records_failures = True

    def sources(self, study):
        return "sources"

    def grade(self, study, sources, *, regrade, observe):
        observe("localise")
        if isinstance(self.ending, BaseException):
            raise self.ending
        return self.ending

    def record_failure(self, study, sources, kind, **details):
        if not self.records_failures:
            raise errors.ArchiveUnavailable("away")
        self.failures.append((study, kind, details))


class FakeQueue:
    def __init__(self):
        self.sent, self.scheduled = [], []

    def send(self, job):
        self.sent.append(job)

    def schedule(self, job, delay_s):
        self.scheduled.append((job, delay_s))


class FakeLeases:
    leased = False
    requested_again = False

    @contextlib.contextmanager
    def hold(self, study, job, max_s):
        if self.leased:
            raise StudyLeased
        lease = Lease()
        yield lease
        lease.requested_again = self.requested_again


class FakeStopRequest:
    def __init__(self):
        self.errors = []

    def send(self, error):
        self.errors.append(error)


class Killed(BaseException):
    """Ends an attempt as SIGKILL does: no handler sees it."""


@pytest.fixture
def worker(monkeypatch):
    """A task to call, with fakes of all that it uses."""
    monkeypatch.setattr(tasks, "ARCHIVE_WAIT_S", 0.02)
    monkeypatch.setattr(tasks, "MIN_BACKOFF_S", 0.01)
    monkeypatch.setattr(queue, "MIN_BACKOFF_S", 0.01)

    class Worker:
        def __init__(self):
            self.grading, self.queue, self.leases = FakeGrading(), FakeQueue(), FakeLeases()
            self.redis, self.stop_request = FakeRedis(), FakeStopRequest()
            attempts = Attempts(self.redis, "q", limit=3)
            self.loaded = Runtime(self.grading, attempts, self.leases, self.queue, 2, 60.0)
            app = make_app(Settings(_env_file=None))
            self.task = tasks.register(app, self.runtime, self.stop_request, attempts, self.leases)

        def runtime(self):
            if self.loaded is None:
                raise errors.BundleMissing("no bundle")
            return self.loaded

        def __call__(self, **job):
            self.task.push_request(id="m", called_directly=False, args=(), kwargs={})
            with capture_logs() as logs:
                try:
                    self.task.run(study="s", **job)
                finally:
                    self.logs = [line for line in logs if line["event"] != "step"]

        def events(self):
            return [line["event"] for line in self.logs]

    return Worker()


def leaves(kind):
    below = kind.__subclasses__()
    return [kind, *(leaf for k in below for leaf in leaves(k))]


@pytest.mark.parametrize("kind", leaves(errors.Transient))
def test_a_transient_error_is_retried_and_then_a_dead_letter(worker, kind):
    """The delay grows with each retry; after the last one the failure is recorded."""
    worker.grading.ending = kind("away")
    worker()
    worker(retries=1, regrade=True)
    (first, soon), (second, late) = worker.queue.scheduled
    assert (first.retries, second.retries, second.regrade) == (1, 2, True)
    assert 0.005 <= soon <= 0.01 <= late <= 0.02
    assert not worker.grading.failures
    worker(retries=2)
    ((study, kept, details),) = worker.grading.failures
    assert (study, kept) == ("s", Kind.FAILED)
    assert (details["code"], details["step"], details["attempts"]) == (kind.__name__, "localise", 3)


def test_an_archive_that_is_down_costs_no_retry(worker):
    """However long it is down, the study waits for it and does not become a dead letter."""
    worker.grading.ending = errors.ArchiveUnavailable("away")
    worker.grading.archive.away = True
    worker(retries=2)
    ((job, _),) = worker.queue.scheduled
    assert job.retries == 2
    assert not worker.grading.failures


@pytest.mark.parametrize("kind", leaves(errors.Rejected))
def test_a_rejected_study_is_acknowledged_with_its_reason(worker, kind):
    """Log and record contain the reason."""
    worker.grading.ending = kind("no lumbar series")
    worker()
    assert worker.logs[-1]["event"] == "not graded"
    assert worker.logs[-1]["reason"] == "no lumbar series"
    ((_, kept, details),) = worker.grading.failures
    assert kept is (Kind.FAILED if issubclass(kind, DeadLetter) else Kind.REJECTED)
    assert details["reason"] == "no lumbar series"
    assert not worker.stop_request.errors


def test_a_reason_that_cannot_be_recorded_is_not_lost(worker):
    """If the archive does not store the record, the study is tried again."""
    worker.grading.ending = errors.NotLumbar("x")
    worker.grading.records_failures = False
    worker()
    ((job, delay_s),) = worker.queue.scheduled
    assert (job.study, delay_s) == ("s", queue.MAX_BACKOFF_S)


def test_the_count_stays_if_its_dead_letter_cannot_be_recorded(worker):
    """Otherwise the study would kill as many processes again."""
    worker.redis.counts["q:attempts:s"] = 3
    worker.grading.records_failures = False
    worker()
    worker()
    assert [line["code"] for line in worker.logs if "code" in line] == ["TooManyAttempts"]


@pytest.mark.parametrize("kind", leaves(errors.Misconfigured))
def test_misconfigured_stops_the_worker_and_keeps_the_study(worker, kind):
    """The message returns to the queue for the next worker."""
    worker.grading.ending = kind("set LUMBAR_X")
    with pytest.raises(Reject) as raised:
        worker()
    assert raised.value.requeue
    assert [str(e) for e in worker.stop_request.errors] == ["set LUMBAR_X"]


def test_a_child_that_could_not_start_requeues_the_study(worker):
    """Without a runtime no message is consumed."""
    worker.loaded = None
    with pytest.raises(Reject) as raised:
        worker()
    assert raised.value.requeue


def test_without_redis_the_message_is_requeued(worker, monkeypatch):
    """If a retry cannot be scheduled in Redis, the message itself returns to the queue."""

    def away(job, delay_s):
        raise redis.ConnectionError("away")

    worker.grading.ending = errors.DeviceBusy("full")
    monkeypatch.setattr(worker.queue, "schedule", away)
    with pytest.raises(Reject) as raised:
        worker()
    assert raised.value.requeue


def test_a_redis_error_during_grading_is_no_failure_of_the_study(worker):
    """With DICOMweb the records are in Redis: an outage requeues the message."""
    worker.grading.ending = redis.ConnectionError("away")
    with pytest.raises(Reject) as raised:
        worker()
    assert raised.value.requeue
    assert not worker.grading.failures


def test_an_end_that_redis_did_not_receive_is_sent_later(worker, monkeypatch):
    """Repeated outages of Redis do not count as killed processes."""
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


def test_a_defect_is_a_dead_letter_without_its_message(worker):
    """The message of an unknown error, which may quote a header, is neither logged nor recorded."""
    worker.grading.ending = KeyError("DOE^JANE")
    worker()
    assert "not graded" in worker.events()
    ((_, kept, details),) = worker.grading.failures
    assert (kept, details["code"]) == (Kind.FAILED, "KeyError")
    logged = [{k: v for k, v in event.items() if k != "exc_info"} for event in worker.logs]
    assert "DOE" not in f"{logged}{details}"


def test_a_study_that_another_worker_grades_is_not_graded(worker):
    """The second message about a study ends without an error."""
    worker.leases.leased = True
    worker()
    assert worker.events() == ["another worker grades this study and sends it again afterwards"]


def test_a_job_to_regrade_waits_for_the_other_worker(worker):
    """The other worker sends a job without `regrade`, so this one is scheduled."""
    worker.leases.leased = True
    worker(regrade=True)
    assert [job.regrade for job, _ in worker.queue.scheduled] == [True]


def test_a_study_requested_during_grading_is_sent_again(worker):
    """Images that arrive during grading are graded afterwards, with all retries."""
    worker.leases.requested_again = True
    worker(retries=1)
    assert [(job.study, job.retries) for job in worker.queue.sent] == [("s", 0)]


def test_a_study_that_kills_its_process_becomes_a_dead_letter(worker):
    """Attempts that did not end are counted; past the limit the record names the last step."""
    worker.grading.ending = Killed()
    for _ in range(3):
        with pytest.raises(Killed):
            worker()
    worker()
    assert worker.logs[-1]["code"] == "TooManyAttempts"
    ((_, kept, details),) = worker.grading.failures
    assert (kept, details["attempts"], details["step"]) == (Kind.FAILED, 3, "localise")
    worker.grading.ending = Outcome.GRADED
    worker()
    assert worker.events() == ["done"]


def test_a_study_that_exceeds_the_time_limit_becomes_a_dead_letter(worker):
    """The parent, which kills it, records that; the next attempt does not begin."""
    worker.grading.ending = Killed()
    with pytest.raises(Killed):
        worker()
    worker.loaded.attempts.timed_out("s")
    worker()
    assert worker.logs[-1]["code"] == "TimeLimit"
    ((_, _, details),) = worker.grading.failures
    assert (details["attempts"], details["step"]) == (1, "localise")


@pytest.mark.parametrize(
    "ending", [Outcome.GRADED, errors.NotLumbar("x"), errors.BadSettings("x"), KeyError("x")]
)
def test_an_attempt_that_ends_is_not_counted(worker, ending):
    """However an attempt ends, short of a killed process, its count is reset."""
    worker.grading.ending = ending
    with contextlib.suppress(Reject):
        worker()
    assert worker.redis.counts == {}


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_delays_grow_within_bounds(retries, chance):
    """A delay is between half and all of the doubled one, and never over ten minutes."""
    delay = queue.backoff_s(retries, lambda: chance)
    full = min(queue.MAX_BACKOFF_S, queue.MIN_BACKOFF_S * 2 ** min(retries, 20))
    assert full / 2 <= delay <= full
