"""The queue from the sender's side: studies to grade now, and studies to grade later.

Waiting for a next try happens here, in a sorted set, and not as a message with an ETA in a
worker's memory: Redis's own clock decides, a worker that ends has nothing to hand back, and
no message stays unacknowledged longer than one study takes.
"""

from __future__ import annotations

import base64
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any, Final

import redis
from celery import Celery
from kombu.exceptions import OperationalError

TASK_NAME: Final = "lumbar.grade_study"
FIRST_WAIT_S: Final = 2.0
LONGEST_WAIT_S: Final = 600.0
_SEPARATOR: Final = "\x06\x16"  # kombu's, between a queue's name and its priority
_STANDING_S: Final = 10.0
"""For so long a look at all that waits holds; a study sent twice is found done."""
_CLAIMED_S: Final = 30

# KEYS: the sorted set of when, the hash of what. ARGV: study, now, the end of the claim.
_CLAIM: Final = """
local due = redis.call('zscore', KEYS[1], ARGV[1])
if not due or tonumber(due) > tonumber(ARGV[2]) then return false end
redis.call('zadd', KEYS[1], ARGV[3], ARGV[1])
return redis.call('hget', KEYS[2], ARGV[1])
"""
SETTLE: Final = """
local due = redis.call('zscore', KEYS[1], ARGV[1])
if not due or tonumber(due) ~= tonumber(ARGV[3]) then return 0 end
redis.call('zrem', KEYS[1], ARGV[1])
return redis.call('hdel', KEYS[2], ARGV[1])
"""
"""Ends a claim, of an order or of a report to send on, unless it was noted anew meanwhile."""

# ARGV: study, when, the order.
_PUT_OFF: Final = """
local order, before = cjson.decode(ARGV[3]), redis.call('hget', KEYS[2], ARGV[1])
if before then
  before = cjson.decode(before)
  order.regrade = order.regrade or before.regrade
  order.priority = math.min(order.priority, before.priority)
end
redis.call('hset', KEYS[2], ARGV[1], cjson.encode(order))
redis.call('zadd', KEYS[1], ARGV[2], ARGV[1])
"""


class Priority(IntEnum):
    """Which studies go first; the smaller number, in the steps that kombu has for Redis."""

    URGENT = 0
    NEW = 3
    AGAIN = 6
    BACKLOG = 9


@dataclass(frozen=True)
class Order:
    """One study to grade.

    `tries` counts those that failed for a reason that may pass. With `regrade` a report of
    other models does not count as done.
    """

    study: str
    tries: int = 0
    regrade: bool = False
    priority: int = Priority.NEW

    def text(self) -> str:
        """The order as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str | bytes) -> Order:
        """Read back what `text` wrote."""
        return cls(**json.loads(text))


def wait_s(tries: int, draw: Callable[[], float] = random.random) -> float:
    """Seconds before the next try: doubled each time up to ten minutes, then halved by chance.

    `draw` gives numbers in 0..1; the wait lies between half of the full one and all of it.
    """
    full = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(tries, 30))
    return full * (0.5 + 0.5 * draw())


class Queue:
    """The queue of one installation; every method may raise `redis.RedisError`."""

    def __init__(self, app: Celery, client: redis.Redis[bytes], name: str) -> None:
        self._app = app
        self._redis = client
        self._name = name
        self._claim = client.register_script(_CLAIM)
        self._settle = client.register_script(SETTLE)
        self._put_off = client.register_script(_PUT_OFF)
        self._standing: set[tuple[str, bool]] = set()
        self._stood_at = -math.inf

    def send(self, order: Order) -> str:
        """Put a study into the queue; the id of its message."""
        words: dict[str, Any] = asdict(order)
        priority = words.pop("priority")
        try:
            sent = self._app.send_task(
                TASK_NAME,
                kwargs=words,
                queue=self._name,
                priority=priority,
                headers={"sent": time.time()},
                retry=False,
            )
        except OperationalError as error:  # kombu's name for all that Redis's client raises
            raise redis.ConnectionError(str(error)) from error
        return str(sent.id)

    def send_once(self, order: Order) -> str | None:
        """Put a study into the queue unless it waits there already; the id of its message.

        Nor is it sent while it waits for its next try: that would start to count anew. An order
        to regrade is another order: one without would leave the report of other models. None
        where nothing was sent.
        """
        if time.monotonic() - self._stood_at > _STANDING_S:
            self._standing = self._all_standing()
            self._stood_at = time.monotonic()
        if (order.study, order.regrade) in self._standing:
            return None
        message = self.send(order)
        self._standing.add((order.study, order.regrade))
        return message

    def _all_standing(self) -> set[tuple[str, bool]]:
        """Study and `regrade` of all that waits, as messages or for a next try."""
        found = {(order.study, order.regrade) for order in self.waiting()}
        for priority in Priority:
            for text in self._redis.lrange(self._key(priority), 0, -1):
                with suppress(ValueError, KeyError, TypeError):  # somebody else's message
                    _, words, _ = json.loads(base64.b64decode(json.loads(text)["body"]))
                    found.add((words["study"], words.get("regrade", False)))
        return found

    def later(self, order: Order, wait_s: float) -> None:
        """Put a study into the queue after a while, by Redis's clock.

        It takes the place of whatever of the same study waited: each has one next try, which
        keeps an order to regrade and the higher priority.
        """
        words = (order.study, self._now() + wait_s, order.text())
        self._put_off(keys=(self._later, self._orders), args=words)

    def waiting(self) -> list[Order]:
        """The studies that wait for their next try, the soonest first."""
        studies = self._redis.zrange(self._later, 0, -1)
        texts = self._redis.hmget(self._orders, studies) if studies else []
        return [Order.parse(text) for text in texts if text is not None]

    def send_due(self) -> Iterator[tuple[Order, str]]:
        """Put what has waited long enough into the queue; `waiting` keeps it until it is there.

        Each with the id of its message. Of several callers one sends each study. One that dies
        before it has sent leaves the study to the others, half a minute later.
        """
        for study in self._redis.zrangebyscore(self._later, 0, self._now()):
            now = self._now()
            words: tuple[bytes | float, ...] = (study, now, now + _CLAIMED_S)
            text = self._claim(keys=(self._later, self._orders), args=words)
            if not isinstance(text, bytes):
                continue
            order = Order.parse(text)
            message = self.send(order)
            self._settle(keys=(self._later, self._orders), args=words)
            yield order, message

    def depth(self) -> dict[Priority, int]:
        """How many messages wait at each priority."""
        return {p: self._redis.llen(self._key(p)) for p in Priority}

    def oldest_s(self) -> float:
        """The age in seconds of the message that waits longest, 0 where none does."""
        ages = [0.0]
        for priority in Priority:
            text = self._redis.lindex(self._key(priority), -1)
            if text is not None:
                sent = json.loads(text)["headers"].get("sent")
                ages.append(max(0.0, time.time() - sent) if sent else 0.0)
        return max(ages)

    def ended(self, *, well: bool) -> None:
        """A study came to its end just now; `well` if it is graded or was found graded."""
        now = self._now()
        self._redis.hset(self._ended, mapping={"any": now, **({"well": now} if well else {})})

    def ended_s(self) -> tuple[float | None, float | None]:
        """Seconds since a study ended in any way, and since one ended well, None for never."""
        now, (last, well) = self._now(), self._redis.hmget(self._ended, "any", "well")
        return (
            None if last is None else max(0.0, now - float(last)),
            None if well is None else max(0.0, now - float(well)),
        )

    @property
    def _ended(self) -> str:
        return f"{self._name}:ended"

    @property
    def _later(self) -> str:
        return f"{self._name}:later"

    @property
    def _orders(self) -> str:
        return f"{self._name}:later:orders"

    def _key(self, priority: Priority) -> str:
        return f"{self._name}{_SEPARATOR}{priority.value}" if priority else self._name

    def _now(self) -> float:
        seconds, microseconds = self._redis.time()
        return float(seconds + microseconds / 1e6)
