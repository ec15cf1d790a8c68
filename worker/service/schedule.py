"""Studies that are due at a time, in Redis, each claimed by one of several processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import redis
    from redis.commands.core import Script


@dataclass(frozen=True)
class Claim:
    """A study that only its claimant handles until `expires` (Unix seconds)."""

    study: str
    value: bytes
    expires: float


class Schedule:
    """Studies with the time at which each is due, and a value for each.

    Redis's clock decides. A claimant that dies before `settle` leaves the study to the others,
    which get it when the claim expires. Methods may raise `redis.RedisError`.
    """

    def __init__(self, client: redis.Redis[bytes], due: str, values: str) -> None:
        self._redis = client
        self.keys = (due, values)
        self._due = due
        self._claim = load_script(client, "claim")
        self._settle = load_script(client, "settle")

    def claim_due(self, claim_s: float, *, limit: int | None = None) -> Iterator[Claim]:
        """Claim each study that is due, one at a time, for so many seconds."""
        start, num = (None, None) if limit is None else (0, limit)
        for study in self._redis.zrangebyscore(self._due, 0, redis_time(self._redis), start, num):
            now = redis_time(self._redis)
            value = self._claim(keys=self.keys, args=(study, now, now + claim_s))
            if isinstance(value, bytes):
                yield Claim(study.decode(), value, now + claim_s)

    def settle(self, claim: Claim) -> None:
        """Remove a claimed study, unless it was scheduled again after the claim."""
        self._settle(keys=self.keys, args=(claim.study, claim.expires))


def load_script(client: redis.Redis[bytes], name: str) -> Script:
    """The script `lua/<name>.lua`; its header comment lists keys and arguments."""
    file = resources.files("worker.service") / "lua" / f"{name}.lua"
    return client.register_script(file.read_text(encoding="utf-8"))


def redis_time(client: redis.Redis[bytes]) -> float:
    """Redis's clock in Unix seconds; raise `redis.RedisError`."""
    seconds, microseconds = client.time()
    return float(seconds + microseconds / 1e6)
