"""The queue as senders see it: studies to grade now, and studies to grade later.

A study that waits for its next attempt is in a sorted set, not in a message with an ETA in a
worker's memory: Redis's clock decides, a worker that exits has nothing to return, and no
message stays unacknowledged longer than one study takes.
"""

from __future__ import annotations

import base64
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import redis
import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from worker.service.jobs import TASK_NAME, GradeJob, InvalidJob, Priority, arguments_of
from worker.service.redis_keys import RedisKeys
from worker.service.schedule import Schedule, load_script, redis_time

MIN_BACKOFF_S: Final = 2.0
MAX_BACKOFF_S: Final = 600.0
_SNAPSHOT_S: Final = 10.0
"""How long `send_if_absent` relies on one listing of the queue; a study sent twice is skipped."""
_CLAIM_S: Final = 30
_MALFORMED: Final = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What reading a malformed entry of the queue raises."""

_log = structlog.stdlib.get_logger(__name__)


def backoff_s(retries: int, draw: Callable[[], float] = random.random) -> float:
    """Seconds until the next attempt: doubled each time up to ten minutes, with jitter.

    `draw` returns numbers in 0..1; the result is between half of the full delay and all of it.
    """
    full = min(MAX_BACKOFF_S, MIN_BACKOFF_S * 2.0 ** min(retries, 30))
    return full * (0.5 + 0.5 * draw())


class Queue:
    """The queue of one installation; every method may raise `redis.RedisError`."""

    def __init__(self, app: Celery, client: redis.Redis[bytes], name: str) -> None:
        self._app = app
        self._redis = client
        self._name = name
        self._keys = RedisKeys(name)
        self._retries = Schedule(client, self._keys.retry_due, self._keys.retry_jobs)
        self._schedule_job = load_script(client, "schedule_job")
        self._snapshot: set[tuple[str, bool]] = set()
        self._snapshot_at = -math.inf

    def send(self, job: GradeJob) -> str:
        """Put a study into the queue; return the id of its message."""
        try:
            sent = self._app.send_task(
                TASK_NAME,
                kwargs=arguments_of(job),
                queue=self._name,
                priority=job.priority,
                headers={"sent": time.time()},
                retry=False,
            )
        except OperationalError as error:  # kombu's name for all that Redis's client raises
            raise redis.ConnectionError(str(error)) from error
        return str(sent.id)

    def send_if_absent(self, job: GradeJob) -> str | None:
        """Put a study into the queue unless it is there; return the id of its message.

        A study that waits for its next attempt counts as there: a second job would reset its
        retries. A job to regrade and one without are different jobs. None if nothing was sent.
        """
        if time.monotonic() - self._snapshot_at > _SNAPSHOT_S:
            self._snapshot = self._all_jobs()
            self._snapshot_at = time.monotonic()
        if (job.study, job.regrade) in self._snapshot:
            return None
        message = self.send(job)
        self._snapshot.add((job.study, job.regrade))
        return message

    def _all_jobs(self) -> set[tuple[str, bool]]:
        """Study and `regrade` of every job, as a message or waiting for its next attempt."""
        jobs = {(job.study, job.regrade) for job in self.scheduled()}
        for priority in Priority:
            for text in self._redis.lrange(self._keys.messages(priority), 0, -1):
                with suppress(*_MALFORMED):  # dropped when a worker reads it
                    _, kwargs, _ = json.loads(base64.b64decode(json.loads(text)["body"]))
                    jobs.add((kwargs["study"], kwargs.get("regrade", False)))
        return jobs

    def schedule(self, job: GradeJob, delay_s: float) -> None:
        """Put a study into the queue after a delay, by Redis's clock.

        A study has one scheduled job: this one replaces an earlier one, but keeps its request
        to regrade and its priority if that is higher.
        """
        due = redis_time(self._redis) + delay_s
        self._schedule_job(keys=self._retries.keys, args=(job.study, due, job.to_json()))

    def scheduled(self) -> list[GradeJob]:
        """The jobs that wait for their next attempt, the earliest first."""
        studies = self._redis.zrange(self._keys.retry_due, 0, -1)
        texts = self._redis.hmget(self._keys.retry_jobs, studies) if studies else []
        return [job for text in texts if text is not None and (job := _read(text)) is not None]

    def send_due(self) -> Iterator[tuple[GradeJob, str]]:
        """Put the jobs that are due into the queue; each with the id of its message.

        Of several callers one sends each job. One that dies before it has sent a job leaves it
        to the others, half a minute later.
        """
        for claim in self._retries.claim_due(_CLAIM_S):
            if not claim.value:
                continue
            job = _read(claim.value)
            if job is None:
                self._retries.settle(claim)
                _log.error("malformed job dropped", key=self._keys.retry_jobs)
                continue
            message = self.send(job)
            self._retries.settle(claim)
            yield job, message

    def depth(self) -> dict[Priority, int]:
        """How many messages wait at each priority."""
        return {p: self._redis.llen(self._keys.messages(p)) for p in Priority}

    def oldest_age_s(self) -> float:
        """The age in seconds of the oldest message, 0 if there is none."""
        ages = [0.0]
        for priority in Priority:
            text = self._redis.lindex(self._keys.messages(priority), -1)
            if text is not None:
                with suppress(*_MALFORMED):
                    sent = json.loads(text)["headers"].get("sent")
                    ages.append(max(0.0, time.time() - sent) if sent else 0.0)
        return max(ages)

    def record_end(self, *, success: bool) -> None:
        """Note that a study ended just now; `success` if it has a report."""
        now = redis_time(self._redis)
        for field in ("any", "success") if success else ("any",):
            self._redis.hset(self._keys.last_end, field, now)

    def seconds_since_end(self) -> tuple[float | None, float | None]:
        """Seconds since a study ended in any way and since one succeeded, None for never."""
        now = redis_time(self._redis)
        times = self._redis.hmget(self._keys.last_end, "any", "success")
        last, success = (None if t is None else max(0.0, now - float(t)) for t in times)
        return last, success


def _read(text: bytes) -> GradeJob | None:
    """A stored job; None if it is malformed."""
    with suppress(InvalidJob):
        return GradeJob.from_json(text)
    return None
