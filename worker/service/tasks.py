"""The task, and the one place where an error becomes a policy.

ArchiveUnavailable  wait for the archive; while it is away as a whole no try is counted
Transient           wait longer after each try, with jitter; then a dead letter
Rejected            acknowledged, and the reason kept
GivenUp             a dead letter: it killed its process, or ran into the time limit
Misconfigured       the message goes back and the worker stops
anything else       our mistake: a dead letter, logged by type and place
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
from worker.service.attempts import Deliveries, GivenUp
from worker.service.events import RETRIED
from worker.service.leases import Leases, StudyTaken
from worker.service.queue import FIRST_WAIT_S, LONGEST_WAIT_S, TASK_NAME, Order, Priority, wait_s
from worker.service.records import Kind, Outcome
from worker.service.runtime import Runtime, StopNote

PATIENCE_S: Final = 20.0
"""How long a process waits for an archive that is away before it looks at the queue again."""

_log = structlog.stdlib.get_logger(__name__)


def register(
    app: Celery,
    runtime: Callable[[], Runtime],
    note: StopNote,
    deliveries: Deliveries,
    leases: Leases,
) -> Task:
    """Give the app its task; `runtime` returns what the child holds or raises Misconfigured.

    `deliveries` and `leases` are the parent's, which alone sees a child die and a study run
    into the time limit.
    """

    class StudyRequest(Request):  # type: ignore[misc]
        """A message as the parent sees it.

        Only the hard limit is used: the exception of the soft one could end in a decoder's
        boundary as an unreadable image.
        """

        def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Celery's
            # Celery logs an acknowledgement that Redis did not hear, and counts the message as
            # taken for ever: with a prefetch of one nothing would be taken again. An error that
            # it does not expect ends in a new connection instead, which gives the message back.
            super().__init__(*args, **(kwargs | {"connection_errors": ()}))

        def on_timeout(self, soft: bool, timeout: float) -> None:
            """The child was killed: when the study's lease runs out it becomes a dead letter."""
            super().on_timeout(soft, timeout)
            study = self.kwargs.get("study")
            _log.error("killed by the time limit", study=study, message=self.id, seconds=timeout)
            deliveries.overdue(str(study))

        def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - Celery's
            """A child that died has let go of its study, which Celery gives to the next."""
            study = str(self.kwargs.get("study"))
            # The exception itself is wrapped in another.
            if issubclass(exc_info.type, WorkerLostError) and leases.free(study, self.worker_pid):
                _log.warning("a child died", study=study, message=self.id)
            return super().on_failure(exc_info, *args, **kwargs)

    @app.task(name=TASK_NAME, bind=True, shared=False, Request=StudyRequest)  # type: ignore[untyped-decorator]
    def grade_study(task: Task, *, study: str, tries: int = 0, regrade: bool = False) -> None:
        """Grade one study of the archive.

        Before: `study` is what the archive calls it, an Orthanc id or with DICOMweb a Study
        Instance UID. After: the archive holds its report, or its record why not, or it waits
        for another try.
        """
        priority = (task.request.delivery_info or {}).get("priority")
        order = Order(study, tries, regrade, Priority.NEW if priority is None else priority)
        with structlog.contextvars.bound_contextvars(study=study, message=task.request.id):
            try:
                _run(runtime(), order)
            except Misconfigured as error:
                _log.critical("the worker stops", reason=str(error), code=type(error).__name__)
                note.stop(error)
                raise Reject(reason=str(error), requeue=True) from error
            except redis.RedisError as error:
                # Nothing could be put off: the message itself has to come again.
                raise Reject(reason=type(error).__name__, requeue=True) from error

    return grade_study


def _run(here: Runtime, order: Order) -> None:
    try:
        with here.leases.hold(order.study, order.text(), here.time_limit_s) as lease:
            _Try(here, order).run()
    except StudyTaken:
        _log.info("put off", reason="another worker grades this study; it looks again after that")
        if order.regrade:  # what that one sends again is no such order
            here.queue.later(order, FIRST_WAIT_S)
        return
    if lease.again:
        message = here.queue.send(replace(order, tries=0))
        _log.info("asked for again meanwhile", sent=message)


class _Try:
    """One try at one study, from its count to its record."""

    def __init__(self, here: Runtime, order: Order) -> None:
        self._here = here
        self._order = order
        self._step = "start"
        self._sources = ""
        self._verdict_is_kept = True

    def run(self) -> None:
        """Try; only a try that ends the process is not counted as ended."""
        self._here.teller.begin()
        try:
            self._grade()
        except Exception:
            self._here.deliveries.end(self._order.study)
            raise
        if self._verdict_is_kept:
            self._here.deliveries.end(self._order.study)

    def _grade(self) -> None:
        begun = time.monotonic()
        study, here = self._order.study, self._here
        try:
            here.deliveries.begin(study)
            self._sources = here.grading.sources(study)
            outcome = here.grading.grade(
                study, self._sources, regrade=self._order.regrade, observe=self._observe
            )
        except Transient as error:
            self._later(error)
        except GivenUp as error:
            self._step = error.step or self._step
            self._end(Kind.FAILED, error, str(error), tries=error.tries)
        except Rejected as error:
            self._end(Kind.REJECTED, error, str(error))
        except (Misconfigured, redis.RedisError):
            raise
        except Exception as error:  # noqa: BLE001 - one of the three places of DESIGN.md
            _log.error("trace", exc_info=error)
            self._end(Kind.FAILED, error, "an error of Orthanc Lumbar itself; please report it")
        else:
            if here.outbox and outcome is Outcome.GRADED:
                here.outbox.add(study)
            seconds = round(time.monotonic() - begun, 2)
            _log.info("done", outcome=outcome.value, seconds=seconds)
            here.teller.end(outcome.value)

    def _observe(self, step: str) -> None:
        self._step = step
        self._here.teller.step(step)
        self._here.deliveries.at(self._order.study, step)
        _log.info("step", step=step)

    def _later(self, error: Transient) -> None:
        """Put the study off; an archive that is away for all costs this study no try."""
        order, patience = self._order, wait_s(self._order.tries)
        if isinstance(error, ArchiveUnavailable) and self._archive_is_away():
            patience = FIRST_WAIT_S
        else:
            order = replace(order, tries=order.tries + 1)
        if order.tries > self._here.max_retries:
            self._end(Kind.FAILED, error, f"given up after {order.tries} tries: {error}")
            return
        self._here.queue.later(order, patience)
        self._here.teller.end(RETRIED, type(error).__name__)
        _log.warning(
            "try again",
            reason=str(error),
            step=self._step,
            tries=order.tries,
            wait_s=round(patience, 1),
        )

    def _archive_is_away(self) -> bool:
        """Whether the archive answers nobody; if so, wait a while for it to come back.

        The process waits, so that the studies behind this one stay in the queue.
        """
        away, waited = False, 0.0
        while True:
            try:
                self._here.grading.archive.check()
            except ArchiveUnavailable:
                if not away:
                    _log.warning("the archive is away")
                away = True
            else:
                return away
            if waited >= PATIENCE_S:
                return True
            time.sleep(FIRST_WAIT_S)
            waited += FIRST_WAIT_S

    def _end(self, kind: Kind, error: Exception, reason: str, tries: int = 0) -> None:
        """Keep why there will be no report; should that fail, the study is tried again."""
        code, tries = type(error).__name__, tries or self._order.tries + 1
        _log.error("not graded", reason=reason, code=code, step=self._step, tries=tries)
        try:
            # Before the study could be looked at, there is no fingerprint to keep.
            sources = self._sources or self._here.grading.sources(self._order.study)
            self._here.grading.give_up(
                self._order.study,
                sources,
                kind,
                code=code,
                reason=reason,
                step=self._step,
                tries=tries,
            )
        except (Transient, BrokenStudy) as refusal:
            # What killed its process is not tried again for that: its count stays.
            self._verdict_is_kept = not isinstance(error, GivenUp)
            _log.warning("reason not kept", reason=str(refusal), wait_s=LONGEST_WAIT_S)
            self._here.queue.later(self._order, LONGEST_WAIT_S)
            self._here.teller.end(RETRIED, code)
            return
        except StudyGone:
            pass  # and its record with it
        self._here.teller.end(kind.value, code)
