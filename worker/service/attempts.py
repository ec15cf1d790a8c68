"""A cap on how often a study may take its process down with it.

A study whose worker was killed comes back, by Celery or by its lease, for ever. A count in
Redis of tries that began and did not end tells a study that kills from one that waits.
"""

from __future__ import annotations

from typing import Final, Protocol

import redis
import structlog

from worker.errors import Rejected

_KEPT_S: Final = 7 * 24 * 3600
_OVERDUE: Final = 1_000_000
"""Added to the count of a study that ran into the time limit: more than any cap."""

_log = structlog.stdlib.get_logger(__name__)


class GivenUp(Rejected):
    """The study is a dead letter: another try would do harm.

    `tries` counts those that did not end, `step` is where the last of them was.
    """

    def __init__(self, reason: str, *, tries: int = 1, step: str = "") -> None:
        super().__init__(reason)
        self.tries = tries
        self.step = step


class TooManyDeliveries(GivenUp):
    """The study ended its process every time it was tried."""


class TimeLimit(GivenUp):
    """The study took longer than the time limit, and its process was killed."""


class Counters(Protocol):
    """The commands of Redis that counting needs."""

    def incrby(self, name: str, amount: int, /) -> object:
        """Add to the count and return the new one."""

    def expire(self, name: str, time: int, /) -> object:
        """Forget the count after this many seconds."""

    def set(self, name: str, value: str, /, *, ex: int) -> object:
        """Keep a text for this many seconds."""

    def get(self, name: str, /) -> object:
        """The text as bytes, or None."""

    def delete(self, *names: str) -> object:
        """Forget these now."""


class Deliveries:
    """Counts the unfinished tries of each study; Redis being away stops no grading."""

    def __init__(self, client: Counters, queue: str, *, most: int) -> None:
        self._redis = client
        self._queue = queue
        self._most = most
        self._unheard: set[str] = set()

    def begin(self, study: str) -> None:
        """Count one more; raise TooManyDeliveries past the cap, TimeLimit after `overdue`."""
        for ended in tuple(self._unheard):
            self.end(ended)
        count = self._add(study, 1)
        if count > _OVERDUE:
            raise TimeLimit(
                "it took longer than LUMBAR_TIME_LIMIT_S allows; raise that if need be",
                tries=count - 1 - _OVERDUE,
                step=self._step(study),
            )
        if count > self._most:
            raise TooManyDeliveries(
                f"the study ended its process {count - 1} times (out of memory?); give the "
                "worker more memory and run `lumbar failures replay STUDY`",
                tries=count - 1,
                step=self._step(study),
            )

    def at(self, study: str, step: str) -> None:
        """Note how far this try has come, for the case that it does not end."""
        try:
            self._redis.set(self._key(study, "step"), step, ex=_KEPT_S)
        except redis.RedisError as error:
            _log.warning("step not noted", error=type(error).__name__)

    def end(self, study: str) -> None:
        """Forget a try that came to an orderly end, good or bad.

        A Redis that is away is told with the next study: it must not count as a killed process.
        """
        try:
            self._redis.delete(self._key(study), self._key(study, "step"))
            self._unheard.discard(study)
        except redis.RedisError as error:
            self._unheard.add(study)
            _log.warning("tries not counted", error=type(error).__name__)

    def overdue(self, study: str) -> None:
        """The study was killed by the time limit: it will not be tried again."""
        self._add(study, _OVERDUE)

    def _add(self, study: str, amount: int) -> int:
        try:
            count = int(str(self._redis.incrby(self._key(study), amount)))
            self._redis.expire(self._key(study), _KEPT_S)
        except redis.RedisError as error:
            _log.warning("tries not counted", error=type(error).__name__)
            return 0
        return count

    def _step(self, study: str) -> str:
        try:
            found = self._redis.get(self._key(study, "step"))
        except redis.RedisError:
            return ""
        return found.decode() if isinstance(found, bytes) else ""

    def _key(self, study: str, what: str = "tries") -> str:
        return f"{self._queue}:{what}:{study}"
