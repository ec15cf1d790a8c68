"""A limit on how often a study may kill the process that grades it.

A study whose process was killed is sent again, by Celery or when its lease expires. A count in
Redis of attempts that began and did not end separates a study that kills from one that waits.
"""

from __future__ import annotations

from typing import Final, Protocol

import redis
import structlog

from worker.errors import Rejected
from worker.service.redis_keys import RedisKeys

_EXPIRY_S: Final = 7 * 24 * 3600
_TIMED_OUT: Final = 1_000_000
"""Added to the count of a study that exceeded the time limit: more than any limit."""

_log = structlog.stdlib.get_logger(__name__)


class DeadLetter(Rejected):
    """The study is not tried again: another attempt would kill its process, too.

    `attempts` counts those that did not end, `step` is the last step of the last one.
    """

    def __init__(self, reason: str, *, attempts: int = 1, step: str = "") -> None:
        super().__init__(reason)
        self.attempts = attempts
        self.step = step


class TooManyAttempts(DeadLetter):
    """The study's process was killed in every attempt."""


class TimeLimit(DeadLetter):
    """The study exceeded the time limit, and its process was killed."""


class CounterStore(Protocol):
    """The commands of Redis that counting needs."""

    def incrby(self, name: str, amount: int, /) -> object:
        """Add to a count and return the new one."""

    def expire(self, name: str, time: int, /) -> object:
        """Delete a key after so many seconds."""

    def set(self, name: str, value: str, /, *, ex: int) -> object:
        """Set a text that expires after so many seconds."""

    def get(self, name: str, /) -> object:
        """The text as bytes, or None."""

    def delete(self, *names: str) -> object:
        """Delete keys."""


class Attempts:
    """Counts the unfinished attempts of each study; without Redis grading goes on."""

    def __init__(self, store: CounterStore, queue: str, *, limit: int) -> None:
        self._redis = store
        self._keys = RedisKeys(queue)
        self._limit = limit
        self._ends_to_record: set[str] = set()

    def begin(self, study: str) -> None:
        """Count one more; raise TooManyAttempts past the limit, TimeLimit after `timed_out`."""
        for ended in tuple(self._ends_to_record):
            self.end(ended)
        count = self._add(study, 1)
        if count > _TIMED_OUT:
            raise TimeLimit(
                "grading exceeded the time limit; raise LUMBAR_TIME_LIMIT_S if the study is large",
                attempts=count - 1 - _TIMED_OUT,
                step=self._step(study),
            )
        if count > self._limit:
            raise TooManyAttempts(
                f"the grading process was killed {count - 1} times (out of memory?); give the "
                "worker more memory and run `lumbar failures replay STUDY`",
                attempts=count - 1,
                step=self._step(study),
            )

    def set_step(self, study: str, step: str) -> None:
        """Record the current step, for the case that the attempt does not end."""
        try:
            self._redis.set(self._keys.step(study), step, ex=_EXPIRY_S)
        except redis.RedisError as error:
            _log.warning("step not recorded", error=type(error).__name__)

    def end(self, study: str) -> None:
        """Reset the count: the attempt ended without killing its process.

        If Redis is unavailable, the next `begin` does it: the attempt must not count as killed.
        """
        try:
            self._redis.delete(self._keys.attempts(study), self._keys.step(study))
            self._ends_to_record.discard(study)
        except redis.RedisError as error:
            self._ends_to_record.add(study)
            _log.warning("attempts not counted", error=type(error).__name__)

    def timed_out(self, study: str) -> None:
        """Record that the time limit killed the study's process: it is not tried again."""
        self._add(study, _TIMED_OUT)

    def _add(self, study: str, amount: int) -> int:
        try:
            count = int(str(self._redis.incrby(self._keys.attempts(study), amount)))
            self._redis.expire(self._keys.attempts(study), _EXPIRY_S)
        except redis.RedisError as error:
            _log.warning("attempts not counted", error=type(error).__name__)
            return 0
        return count

    def _step(self, study: str) -> str:
        try:
            step = self._redis.get(self._keys.step(study))
        except redis.RedisError:
            return ""
        return step.decode() if isinstance(step, bytes) else ""
