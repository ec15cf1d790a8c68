"""Which models the workers of a queue grade with, as their keepers say it.

`lumbar regrade` asks: an order to regrade does nothing where other models take it.
"""

from __future__ import annotations

from typing import Final

import redis

HEARD_S: Final = 15.0
"""How long a word counts; a keeper repeats its own every second."""


class Announcements:
    """The models in use at one queue; both methods may raise `redis.RedisError`."""

    def __init__(self, client: redis.Redis[bytes], queue: str) -> None:
        self._redis = client
        self._key = f"{queue}:bundles"

    def say(self, bundle: str) -> None:
        """A worker grades with the models of this SHA-256."""
        self._redis.zadd(self._key, {bundle: self._now()})

    def heard(self) -> set[str]:
        """The models in use, by SHA-256; empty where no worker runs."""
        since = self._now() - HEARD_S
        return {one.decode() for one in self._redis.zrangebyscore(self._key, since, "+inf")}

    def _now(self) -> float:
        seconds, microseconds = self._redis.time()
        return float(seconds + microseconds / 1e6)
