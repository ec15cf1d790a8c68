"""The task, and the one place where an error becomes a policy.

ArchiveUnavailable  wait for the archive; while it is down for all studies no retry is counted
Transient           retry with exponential backoff and jitter; then a dead letter
DeadLetter          a dead letter: it killed its process or exceeded the time limit
Rejected            acknowledged, and the reason recorded
Misconfigured       the message returns to the queue and the worker stops
anything else       a defect of Orthanc Lumbar: a dead letter, logged by type and location
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import redis
import structlog
from billiard.exceptions import WorkerLostError
from celery import Celery, Task
from celery.exceptions import Reject
from celery.worker.request import Request

from worker.errors import (
    ArchiveUnavailable,
    BrokenStudy,
    Misconfigured,
    Rejected,
    StudyGone,
    Transient,
)
from worker.service.attempts import Attempts, DeadLetter
from worker.service.events import RETRIED
from worker.service.jobs import TASK_NAME, GradeJob, Priority
from worker.service.leases import Leases, StudyLeased
from worker.service.queue import MAX_BACKOFF_S, MIN_BACKOFF_S, backoff_s
from worker.service.records import Kind, Outcome
from worker.service.runtime import Runtime, StopRequest

ARCHIVE_WAIT_S: Final = 20.0
"""How long a process waits for an unavailable archive before it returns to the queue."""

_log = structlog.stdlib.get_logger(__name__)


def register(
    app: Celery,
    runtime: Callable[[], Runtime],
    stop_request: StopRequest,
    attempts: Attempts,
    leases: Leases,
) -> Task:
    """Register the task; `runtime` returns what the child loaded or raises Misconfigured.

    `attempts` and `leases` are the parent's: only the parent sees that a child died or that a
    study exceeded the time limit.
    """

    @app.task(  # type: ignore[untyped-decorator]
        name=TASK_NAME, bind=True, shared=False, Request=_request_class(attempts, leases)
    )
    def grade_study(task: Task, *, study: str, retries: int = 0, regrade: bool = False) -> None:
        """Grade one study of the archive.

        `study` is what the archive calls it, an Orthanc id or for DICOMweb a Study Instance
        UID. Afterwards the archive holds its report, or its record says why not, or the study
        is scheduled for a retry.
        """
        priority = (task.request.delivery_info or {}).get("priority")
        job = GradeJob(study, retries, regrade, Priority.NEW if priority is None else priority)
        with structlog.contextvars.bound_contextvars(study=study, message=task.request.id):
            try:
                _run(runtime(), job)
            except Misconfigured as error:
                _log.critical("worker stops", reason=str(error), code=type(error).__name__)
                stop_request.send(error)
                raise Reject(reason=str(error), requeue=True) from error
            except redis.RedisError as error:
                # No retry could be scheduled: the message itself has to be redelivered.
                raise Reject(reason=type(error).__name__, requeue=True) from error

    return grade_study


def _request_class(attempts: Attempts, leases: Leases) -> type[Request]:
    class StudyRequest(Request):  # type: ignore[misc]
        """A message as the parent sees it.

        Only the hard time limit is used: the exception of the soft one could end in the
        decoder boundary as an unreadable image.
        """

        def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Celery's
            # If Redis does not receive an acknowledgement, Celery logs that and counts the
            # message as taken; with a prefetch of one it takes no other. An error that it does
            # not expect makes it reconnect instead, which redelivers the message.
            super().__init__(*args, **(kwargs | {"connection_errors": ()}))

        def on_timeout(self, soft: bool, timeout: float) -> None:
            """The child was killed: the study becomes a dead letter when its lease expires."""
            super().on_timeout(soft, timeout)
            study = self.kwargs.get("study")
            _log.error("time limit exceeded", study=study, message=self.id, seconds=timeout)
            attempts.timed_out(str(study))

        def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - Celery's
            """Release the lease of a child that died: Celery redelivers its study."""
            study = str(self.kwargs.get("study"))
            # The exception itself is wrapped in another.
            if issubclass(exc_info.type, WorkerLostError) and leases.release_for(
                study, self.worker_pid
            ):
                _log.warning("child process died", study=study, message=self.id)
            return super().on_failure(exc_info, *args, **kwargs)

    return StudyRequest


def _run(runtime: Runtime, job: GradeJob) -> None:
    try:
        with runtime.leases.hold(job.study, job.to_json(), runtime.time_limit_s) as lease:
            _Attempt(runtime, job).run()
    except StudyLeased:
        _log.info("another worker grades this study and sends it again afterwards")
        if job.regrade:  # what that worker sends is a job without `regrade`
            runtime.queue.schedule(job, MIN_BACKOFF_S)
        return
    if lease.requested_again:
        message = runtime.queue.send(replace(job, retries=0))
        _log.info("requested again during grading", sent=message)


class _Attempt:
    """One attempt to grade a study, from its count to its record."""

    def __init__(self, runtime: Runtime, job: GradeJob) -> None:
        self._runtime = runtime
        self._job = job
        self._step = "start"
        self._sources = ""
        self._keep_count = False

    def run(self) -> None:
        """Grade; the attempt stays counted only if it kills its process."""
        self._runtime.recorder.begin()
        try:
            self._grade()
        except Exception:
            self._runtime.attempts.end(self._job.study)
            raise
        if not self._keep_count:
            self._runtime.attempts.end(self._job.study)

    def _grade(self) -> None:
        begun = time.monotonic()
        study, runtime = self._job.study, self._runtime
        try:
            runtime.attempts.begin(study)
            self._sources = runtime.grading.sources(study)
            outcome = runtime.grading.grade(
                study, self._sources, regrade=self._job.regrade, observe=self._observe
            )
        except Transient as error:
            self._retry(error)
        except DeadLetter as error:
            self._step = error.step or self._step
            self._fail(Kind.FAILED, error, str(error), attempts=error.attempts)
        except Rejected as error:
            self._fail(Kind.REJECTED, error, str(error))
        except (Misconfigured, redis.RedisError):
            raise
        except Exception as error:  # noqa: BLE001 - one of the three places of DESIGN.md
            _log.error("unexpected error", exc_info=error)
            self._fail(Kind.FAILED, error, "a defect of Orthanc Lumbar; please report it")
        else:
            if runtime.outbox and outcome is Outcome.GRADED:
                runtime.outbox.add(study)
            seconds = round(time.monotonic() - begun, 2)
            _log.info("done", outcome=outcome.value, seconds=seconds)
            runtime.recorder.end(outcome.value)

    def _observe(self, step: str) -> None:
        self._step = step
        self._runtime.recorder.step(step)
        self._runtime.attempts.set_step(self._job.study, step)
        _log.info("step", step=step)

    def _retry(self, error: Transient) -> None:
        """Schedule a retry; it is not counted while the archive is down for all studies."""
        job, delay_s = self._job, backoff_s(self._job.retries)
        if isinstance(error, ArchiveUnavailable) and self._archive_is_down():
            delay_s = MIN_BACKOFF_S
        else:
            job = replace(job, retries=job.retries + 1)
        if job.retries > self._runtime.max_retries:
            self._fail(Kind.FAILED, error, f"failed after {job.retries} attempts: {error}")
            return
        self._runtime.queue.schedule(job, delay_s)
        self._runtime.recorder.end(RETRIED, type(error).__name__)
        _log.warning(
            "retry scheduled",
            reason=str(error),
            step=self._step,
            retries=job.retries,
            delay_s=round(delay_s, 1),
        )

    def _archive_is_down(self) -> bool:
        """Whether the archive is down for all studies; if so, wait a while for it.

        The process waits, so that the studies behind this one stay in the queue.
        """
        down, waited_s = False, 0.0
        while True:
            try:
                self._runtime.grading.archive.check()
            except ArchiveUnavailable:
                if not down:
                    _log.warning("archive unavailable")
                down = True
            else:
                return down
            if waited_s >= ARCHIVE_WAIT_S:
                return True
            time.sleep(MIN_BACKOFF_S)
            waited_s += MIN_BACKOFF_S

    def _fail(self, kind: Kind, error: Exception, reason: str, attempts: int = 0) -> None:
        """Record why there will be no report; if that fails, the study is tried again."""
        code, attempts = type(error).__name__, attempts or self._job.retries + 1
        _log.error("not graded", reason=reason, code=code, step=self._step, attempts=attempts)
        try:
            # There is no fingerprint yet if the attempt failed before the archive was read.
            sources = self._sources or self._runtime.grading.sources(self._job.study)
            self._runtime.grading.record_failure(
                self._job.study,
                sources,
                kind,
                code=code,
                reason=reason,
                step=self._step,
                attempts=attempts,
            )
        except (Transient, BrokenStudy) as refusal:
            # A study that kills its process must not be graded again for that: keep its count.
            self._keep_count = isinstance(error, DeadLetter)
            _log.warning("reason not recorded", reason=str(refusal), delay_s=MAX_BACKOFF_S)
            self._runtime.queue.schedule(self._job, MAX_BACKOFF_S)
            self._runtime.recorder.end(RETRIED, code)
            return
        except StudyGone:
            pass  # and its record with it
        self._runtime.recorder.end(kind.value, code)
