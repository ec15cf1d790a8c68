"""One worker per study: a lease in Redis that its owner renews.

The lease of a worker that dies expires, and a supervisor sends the study again within seconds;
Redis would redeliver the message only after the visibility timeout, which is longer than the
longest study. A second message about a study that is being graded is noted, and the owner sends
the study again when it is done.

The order of commands replaces scripts: a note is written before the lease is tried and read
after it is released, so that none is missed. At worst a study is checked once too often.
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Final
from uuid import uuid4

import redis
import structlog
from redis.exceptions import LockError
from redis.lock import Lock

from worker.service.redis_keys import RedisKeys

LEASE_S: Final = 15.0
"""How long a lease outlives its owner."""

_log = structlog.stdlib.get_logger(__name__)


class StudyLeased(Exception):
    """Another worker grades this study; it will be sent again when that one is done."""


class Lease:
    """A lease; after its end it says whether the study was requested again meanwhile."""

    requested_again: bool = False


class Leases:
    """The leases of one queue, as one process takes and sees them."""

    def __init__(self, client: redis.Redis[bytes], queue: str, *, lease_s: float = LEASE_S) -> None:
        self._redis = client
        self._keys = RedisKeys(queue)
        self._lease_s = lease_s
        self._token = f"{_token_prefix(os.getpid())}{uuid4().hex}"

    @contextmanager
    def hold(self, study: str, job: str, max_s: float) -> Iterator[Lease]:
        """Hold the study's lease while the body runs, but no longer than `max_s`.

        `job` is what `abandoned` returns if this process dies.

        Raises `StudyLeased` if another process holds it. Without Redis the study is graded
        without a lease: the archive accepts a report only once.
        """
        lock = self._lock(self._keys.lease(study))
        try:
            self._redis.sadd(self._keys.requested_again, study)
            if not self._take(lock, study, job):
                raise StudyLeased
            # Images that were announced before this line are seen: grading begins after it.
            self._redis.srem(self._keys.requested_again, study)
        except redis.RedisError as error:
            _log.warning("study is graded without a lease", error=type(error).__name__)
        lease = Lease()
        done = threading.Event()
        renewal = threading.Thread(
            target=copy_context().run,  # its log lines name study and message, too
            args=(self._renew, lock, study, job, max_s, done),
            name="lease",
            daemon=True,
        )
        renewal.start()
        killed = False
        try:
            yield lease
        except (SystemExit, KeyboardInterrupt):  # the time limit sends SIGTERM before it kills
            killed = True
            raise
        finally:
            done.set()
            renewal.join()
            if not killed:
                lease.requested_again = self._release(lock, study)

    def release_for(self, study: str, pid: int) -> bool:
        """Release the lease of a process of this machine that has died; whether it had it.

        The caller makes sure that the study is sent again.
        """
        try:
            token = self._redis.get(self._keys.lease(study))
            if token is None or not token.startswith(_token_prefix(pid).encode()):
                return False
            self._redis.hdel(self._keys.running, study)
            self._lock(self._keys.lease(study)).do_release(token)
        except redis.RedisError as error:
            _log.warning("lease not released", study=study, error=type(error).__name__)
            return False
        return True

    def running(self) -> list[str]:
        """The studies that are being graded, or were when their worker died."""
        return [study.decode() for study in self._redis.hkeys(self._keys.running)]

    def abandoned(self) -> Iterator[str]:
        """The jobs of the studies whose worker died, each for one caller alone.

        A job is forgotten when the caller asks for the next: a caller that dies before it has
        sent the study leaves it to the others. May raise `redis.RedisError`.
        """
        for study in self.running():
            if not self._is_free(study):
                continue
            recovery = self._lock(self._keys.recovery(study))
            if not recovery.acquire(blocking=False):
                continue
            job = self._redis.hget(self._keys.running, study)
            if job is not None and self._is_free(study):
                yield job.decode()
                if self._is_free(study):  # otherwise a new owner has noted its own job
                    self._redis.hdel(self._keys.running, study)
            with suppress(LockError):  # expired
                recovery.release()

    def _lock(self, key: str) -> Lock:
        return Lock(self._redis, key, timeout=self._lease_s, thread_local=False)

    def _is_free(self, study: str) -> bool:
        return not self._redis.exists(self._keys.lease(study))

    def _take(self, lock: Lock, study: str, job: str) -> bool:
        if not lock.acquire(blocking=False, token=self._token):
            return False
        self._redis.hset(self._keys.running, study, job)
        return True

    def _renew(self, lock: Lock, study: str, job: str, max_s: float, done: threading.Event) -> None:
        every_s = self._lease_s / 3
        for _ in range(int(max_s / every_s) + 1):
            if done.wait(every_s):
                return
            try:
                if not self._renew_once(lock, study, job):
                    _log.warning("another worker took the lease", study=study)
                    return
            except redis.RedisError as error:
                _log.warning("lease not renewed", study=study, error=type(error).__name__)

    def _renew_once(self, lock: Lock, study: str, job: str) -> bool:
        try:
            lock.reacquire()
        except LockError:  # it expired, or Redis lost its data: take it unless another has it
            return self._take(lock, study, job)
        self._redis.hset(self._keys.running, study, job)
        return True

    def _release(self, lock: Lock, study: str) -> bool:
        """Release the lease; whether the study was requested again meanwhile."""
        try:
            if not lock.owned():
                return False
            self._redis.hdel(self._keys.running, study)
            lock.release()
            return bool(self._redis.srem(self._keys.requested_again, study))
        except redis.RedisError as error:
            _log.warning("lease not released", error=type(error).__name__)
            return False


def _token_prefix(pid: int) -> str:
    """How the tokens of a process of this machine begin."""
    return f"{platform.node()}:{pid}:"
