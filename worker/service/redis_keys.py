"""Every key of Redis that the service uses, with its schema.

Kombu adds keys of its own: `_kombu.binding.*`, `unacked`, `unacked_index` and `unacked_mutex`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_PRIORITY_SEPARATOR: Final = "\x06\x16"  # kombu's, between a queue's name and its priority


@dataclass(frozen=True)
class RedisKeys:
    """The keys of one queue. Keys without an expiry are kept until they are deleted."""

    queue: str

    def messages(self, priority: int) -> str:
        """List of messages (JSON). Pushed by Queue and Orthanc's plugin, popped by Celery."""
        return f"{self.queue}{_PRIORITY_SEPARATOR}{priority}" if priority else self.queue

    @property
    def retry_due(self) -> str:
        """Sorted set study -> Unix time of its next attempt. Written and read by Queue."""
        return f"{self.queue}:retry"

    @property
    def retry_jobs(self) -> str:
        """Hash study -> GradeJob (JSON) of that attempt. Written and read by Queue."""
        return f"{self.queue}:retry:jobs"

    @property
    def last_end(self) -> str:
        """Hash of `any` and `success` -> Unix time. Written by supervisors, read for metrics."""
        return f"{self.queue}:last_end"

    def lease(self, study: str) -> str:
        """String, the owner's token; expires after 15 s. Written by the child that grades."""
        return f"{self.queue}:lease:{study}"

    @property
    def running(self) -> str:
        """Hash study -> GradeJob (JSON) being graded. Written by Leases, read by supervisors."""
        return f"{self.queue}:running"

    @property
    def requested_again(self) -> str:
        """Set of studies with a second message during grading. Written and read by Leases."""
        return f"{self.queue}:requested_again"

    def recovery(self, study: str) -> str:
        """String, the token of the supervisor that sends an abandoned study; expires after 15 s."""
        return f"{self.queue}:recovery:{study}"

    def attempts(self, study: str) -> str:
        """String, the number of attempts that did not end; expires after 7 d. Attempts only."""
        return f"{self.queue}:attempts:{study}"

    def step(self, study: str) -> str:
        """String, the last step of the current attempt; expires after 7 d. Attempts only."""
        return f"{self.queue}:step:{study}"

    @property
    def records(self) -> str:
        """Hash study -> Record (JSON), for archives that store no metadata. Records only."""
        return f"{self.queue}:records"

    @property
    def failures(self) -> str:
        """Hash study -> Record (JSON) of dead letters. Written by Records, read by the CLI."""
        return f"{self.queue}:failures"

    @property
    def incomplete(self) -> str:
        """Hash study -> Record (JSON) waiting for series. Written and read by Records."""
        return f"{self.queue}:incomplete"

    @property
    def forward_due(self) -> str:
        """Sorted set study -> Unix time at which its report is forwarded. Outbox only."""
        return f"{self.queue}:forward"

    @property
    def forward_retries(self) -> str:
        """Hash study -> failed attempts to forward its report. Outbox only."""
        return f"{self.queue}:forward:retries"

    @property
    def active_models(self) -> str:
        """Sorted set SHA-256 of a bundle -> Unix time. Written by supervisors, read by the CLI."""
        return f"{self.queue}:active_models"

    @property
    def reconcile_lock(self) -> str:
        """String, the token of a supervisor; expires after 0.9 reconcile periods."""
        return f"{self.queue}:reconcile_lock"
