"""A cap on how often a study may take its process down with it.

Celery gives the message of a killed process to the next one, for ever. A count in Redis of
deliveries that began and did not end tells a study that kills from one that waits.
"""

from __future__ import annotations

from typing import Final, Protocol

import redis
import structlog

from worker.errors import Rejected

_KEPT_S: Final = 7 * 24 * 3600
_log = structlog.stdlib.get_logger(__name__)


class TooManyDeliveries(Rejected):
    """The study ended its process every time it was tried."""


class Counters(Protocol):
    """The three commands of Redis that counting needs."""

    def incr(self, name: str, /) -> object:
        """Add one and return the new count."""

    def expire(self, name: str, time: int, /) -> object:
        """Forget the count after this many seconds."""

    def delete(self, name: str, /) -> object:
        """Forget the count now."""


class Deliveries:
    """Counts the unfinished deliveries of each message; Redis being away stops no grading."""

    def __init__(self, client: Counters, *, most: int) -> None:
        self._redis = client
        self._most = most

    def begin(self, message_id: str) -> None:
        """Count one more; raise TooManyDeliveries past the cap."""
        try:
            count = int(str(self._redis.incr(_key(message_id))))
            self._redis.expire(_key(message_id), _KEPT_S)
        except redis.RedisError as error:
            _log.warning("deliveries not counted", error=type(error).__name__)
            return
        if count > self._most:
            raise TooManyDeliveries(
                f"the study ended its process {self._most} times (out of memory?); "
                "give the worker more memory and send the study again"
            )

    def end(self, message_id: str) -> None:
        """Forget a delivery that came to an orderly end, good or bad."""
        try:
            self._redis.delete(_key(message_id))
        except redis.RedisError as error:
            _log.warning("deliveries not counted", error=type(error).__name__)


def _key(message_id: str) -> str:
    return f"lumbar:deliveries:{message_id}"
