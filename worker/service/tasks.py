"""The task, and the one place where an error becomes a policy.

Transient       the message goes back, to be tried again after a growing, jittered wait
Rejected        the message is acknowledged and the reason logged
Misconfigured   the message goes back and the worker stops
anything else   our mistake: acknowledged and logged by type and place
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

import structlog
from celery import Celery, Task
from celery.exceptions import Reject
from celery.worker.request import Request

from worker.errors import Misconfigured, Rejected, Transient
from worker.service.runtime import Runtime, StopNote

TASK_NAME: Final = "lumbar.grade_study"
FIRST_WAIT_S: Final = 2.0
LONGEST_WAIT_S: Final = 600.0

_log = structlog.stdlib.get_logger(__name__)


class StudyRequest(Request):  # type: ignore[misc]
    """A message as the parent sees it, which tells of a study that took too long.

    Only the hard limit is used: the exception of the soft one could end in a decoder's
    boundary as an unreadable image.
    """

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """The child was killed; the message is acknowledged."""
        super().on_timeout(soft, timeout)
        _log.error(
            "not graded",
            study=self.kwargs.get("study"),
            message=self.id,
            code="TimeLimit",
            reason=f"it took longer than {timeout:.0f} s; change LUMBAR_TIME_LIMIT_S if need be",
        )


def wait_s(retries: int, draw: Callable[[], float] = random.random) -> float:
    """Seconds before the next try: doubled each time up to ten minutes, then halved by chance.

    `draw` gives numbers in 0..1; the wait lies between half of the full one and all of it.
    """
    full = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(retries, 30))
    return full * (0.5 + 0.5 * draw())


def register(app: Celery, runtime: Callable[[], Runtime], note: StopNote) -> Task:
    """Give the app its task; `runtime` returns what the child holds or raises Misconfigured."""

    @app.task(name=TASK_NAME, bind=True, shared=False, Request=StudyRequest)  # type: ignore[untyped-decorator]
    def grade_study(task: Task, *, study: str) -> None:
        """Grade one study of the archive.

        Before: `study` is what the archive calls it, an Orthanc id or with DICOMweb a Study
        Instance UID. After: the archive holds its report, or the log says why not.
        """
        with structlog.contextvars.bound_contextvars(study=study, message=task.request.id):
            _run(task, study, runtime, note)

    return grade_study


def _run(task: Task, study: str, runtime: Callable[[], Runtime], note: StopNote) -> None:
    begun = time.monotonic()
    step = "start"

    def observe(name: str) -> None:
        nonlocal step
        step = name
        _log.info("step", step=name)

    def gave_up(reason: str, code: str) -> None:
        _log.error("not graded", reason=reason, code=code, step=step, tries=tries)

    tries = task.request.retries + 1
    try:
        here = runtime()
    except Misconfigured as error:
        _stop(error, note)
        raise Reject(reason=str(error), requeue=True) from error
    try:
        here.deliveries.begin(task.request.id)
        outcome = here.grade(study, observe=observe)
    except Transient as error:
        here.deliveries.end(task.request.id)
        if task.request.retries >= task.max_retries:
            gave_up(f"given up after {tries} tries: {error}", type(error).__name__)
            return
        countdown = wait_s(task.request.retries)
        _log.warning(
            "try again", reason=str(error), step=step, tries=tries, wait_s=round(countdown, 1)
        )
        raise task.retry(exc=error, countdown=countdown) from error
    except Rejected as error:
        gave_up(str(error), type(error).__name__)
    except Misconfigured as error:
        here.deliveries.end(task.request.id)
        _stop(error, note)
        raise Reject(reason=str(error), requeue=True) from error
    except Exception as error:  # noqa: BLE001 - one of the three places of DESIGN.md
        gave_up("an error of Orthanc Lumbar itself; please report it", type(error).__name__)
        _log.error("trace", exc_info=error)
    else:
        _log.info("done", outcome=outcome.value, seconds=round(time.monotonic() - begun, 2))
    here.deliveries.end(task.request.id)


def _stop(error: Misconfigured, note: StopNote) -> None:
    _log.critical("the worker stops", reason=str(error), code=type(error).__name__)
    note.stop(error)
