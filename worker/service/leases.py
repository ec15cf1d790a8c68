"""One worker on one study at a time: a lease in Redis that its owner keeps alive.

A worker that dies lets its lease run out, and whoever looks next sends the study again:
within seconds, while Redis would give the message back after the visibility timeout, which
is longer than the longest study. A second message about a study that is being graded is not
worked on beside it: it is noted, and the owner sends the study once more when it is done.
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Final
from uuid import uuid4

import redis
import structlog

HELD_S: Final = 15.0
"""How long a lease outlives its owner."""

_log = structlog.stdlib.get_logger(__name__)

# KEYS: the lease, the hash of what runs, the set of what is asked for again, a mark of who
# looks after what was abandoned.
# ARGV: owner, milliseconds, study, the words to keep with it.
_TAKE: Final = """
if redis.call('set', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  redis.call('hset', KEYS[2], ARGV[3], ARGV[4])
  return 1
end
redis.call('sadd', KEYS[3], ARGV[3])
return 0
"""
# A wiped Redis has forgotten the lease: its owner writes it anew.
_KEEP: Final = """
local owner = redis.call('get', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('hset', KEYS[2], ARGV[3], ARGV[4])
return 1
"""
_LEAVE: Final = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('del', KEYS[1])
redis.call('hdel', KEYS[2], ARGV[3])
return redis.call('srem', KEYS[3], ARGV[3])
"""
_CLAIM: Final = """
if redis.call('exists', KEYS[1]) == 1 then return false end
local words = redis.call('hget', KEYS[2], ARGV[3])
if not words or not redis.call('set', KEYS[4], '', 'NX', 'PX', ARGV[2]) then return false end
return words
"""
# Whoever has taken the study meanwhile keeps words of its own.
_SETTLE: Final = """
redis.call('del', KEYS[4])
if redis.call('exists', KEYS[1]) == 1 then return 0 end
redis.call('srem', KEYS[3], ARGV[3])
return redis.call('hdel', KEYS[2], ARGV[3])
"""
# ARGV[1] is how the owner's name begins.
_FREE: Final = """
local owner = redis.call('get', KEYS[1])
if not owner or string.sub(owner, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
redis.call('del', KEYS[1])
return redis.call('hdel', KEYS[2], ARGV[3])
"""

_SCRIPTS: Final = (_TAKE, _KEEP, _LEAVE, _CLAIM, _SETTLE, _FREE)


class StudyTaken(Exception):
    """Another worker is on this study; it will be sent again when that one is done."""


class Leases:
    """The leases of one queue, as one process takes and sees them."""

    def __init__(self, client: redis.Redis[bytes], queue: str, *, held_s: float = HELD_S) -> None:
        self._redis = client
        self._queue = queue
        self._held_s = held_s
        self._scripts = {text: client.register_script(text) for text in _SCRIPTS}
        self._owner = f"{_process(os.getpid())}{uuid4().hex}"

    @contextmanager
    def hold(self, study: str, words: str, most_s: float) -> Iterator[Lease]:
        """Hold the study's lease while the body runs, but no longer than `most_s`.

        `words` come back from `abandoned`, should this process die.

        Raises `StudyTaken` where another process holds it. Redis being away stops no
        grading: the archive, which takes a report once, is the judge.
        """
        try:
            taken = self._run(_TAKE, study, words)
        except redis.RedisError as error:
            _log.warning("no lease", error=type(error).__name__)
        else:
            if not taken:
                raise StudyTaken
        lease = Lease()
        done = threading.Event()
        keeper = threading.Thread(
            target=copy_context().run,  # its lines name study and message like ours
            args=(self._keep, study, words, most_s, done),
            name="lease",
            daemon=True,
        )
        keeper.start()
        killed = True
        try:
            yield lease
            killed = False
        except Exception:
            killed = False
            raise
        finally:
            done.set()
            keeper.join()
            if not killed:  # by SIGTERM, as the time limit sends it before it kills
                lease.again = self._leave(study)

    def _leave(self, study: str) -> bool:
        """Give the lease back; whether the study was asked for again meanwhile."""
        try:
            return bool(self._run(_LEAVE, study))
        except redis.RedisError as error:
            _log.warning("lease not given back", error=type(error).__name__)
            return False

    def free(self, study: str, pid: int) -> bool:
        """Let go of the study for a process of this machine that has died; whether it held it.

        Whoever calls this sees to it that the study is sent again.
        """
        try:
            return bool(self._run(_FREE, study, owner=_process(pid)))
        except redis.RedisError as error:
            _log.warning("lease not given back", study=study, error=type(error).__name__)
            return False

    def running(self) -> list[str]:
        """The studies that are being graded, or were when their worker died."""
        return [study.decode() for study in self._redis.hkeys(self._running)]

    def abandoned(self) -> Iterator[str]:
        """The words of the studies whose worker died, each told to one caller alone.

        They are forgotten when the caller asks for the next: one that dies before it has sent
        the study leaves it to the others.
        """
        for study in self.running():
            words = self._run(_CLAIM, study)
            if isinstance(words, bytes):
                yield words.decode()
                self._run(_SETTLE, study)

    def _keep(self, study: str, words: str, most_s: float, done: threading.Event) -> None:
        every_s = self._held_s / 3
        for _ in range(int(most_s / every_s) + 1):
            if done.wait(every_s):
                return
            try:
                if not self._run(_KEEP, study, words):
                    _log.warning("lease lost to another worker", study=study)
                    return
            except redis.RedisError as error:
                _log.warning("lease not kept", study=study, error=type(error).__name__)

    @property
    def _running(self) -> str:
        return f"{self._queue}:running"

    def _run(self, script: str, study: str, words: str = "", owner: str = "") -> object:
        name = self._queue
        keys = f"{name}:lease:{study}", self._running, f"{name}:again", f"{name}:claim:{study}"
        held_ms = int(self._held_s * 1000)
        return self._scripts[script](keys=keys, args=(owner or self._owner, held_ms, study, words))


def _process(pid: int) -> str:
    """How the names of owners begin that live in a process of this machine."""
    return f"{platform.node()}:{pid}:"


class Lease:
    """A lease after it was given back: whether the study was asked for again meanwhile."""

    again: bool = False
