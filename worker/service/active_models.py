"""Which models the workers of a queue use, as their supervisors announce it.

`lumbar regrade` reads it: a job to regrade has no effect on a worker with other models.
"""

from __future__ import annotations

from typing import Final

import redis

from worker.service.redis_keys import RedisKeys
from worker.service.schedule import redis_time

EXPIRY_S: Final = 15.0
"""How long an announcement is valid; a supervisor repeats its own every second."""


class ActiveModels:
    """The models in use at one queue; both methods may raise `redis.RedisError`."""

    def __init__(self, client: redis.Redis[bytes], queue: str) -> None:
        self._redis = client
        self._key = RedisKeys(queue).active_models

    def announce(self, bundle: str) -> None:
        """Announce that a worker uses the bundle with this SHA-256."""
        self._redis.zadd(self._key, {bundle: redis_time(self._redis)})

    def current(self) -> set[str]:
        """The SHA-256 of every bundle in use; empty if no worker runs."""
        since = redis_time(self._redis) - EXPIRY_S
        return {sha256.decode() for sha256 in self._redis.zrangebyscore(self._key, since, "+inf")}
