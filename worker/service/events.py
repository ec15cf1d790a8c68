"""Metric events that child processes send to the supervisor: one datagram per attempt.

Not prometheus_client's multiprocess files: those outlive dead children, depend on an environment
variable at import, and a full disk would kill the child that writes them. A datagram that does
not fit into the socket's buffer is lost, and grading goes on.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from dicom_sr.attributes import text

if TYPE_CHECKING:
    import torch
    from pydicom import Dataset

    from worker.domain.graded_study import GradedStudy
    from worker.domain.study import RoutedStudy
    from worker.models.bundle import Bundle

MAX_EVENT_BYTES: Final = 65_536
MAX_MODEL_LENGTH: Final = 32
RETRIED: Final = "retried"
"""The outcome of an attempt that another one follows."""
UNKNOWN, WITHHELD = "unknown", "withheld"

_PERSON: Final = (
    *("PatientName", "PatientBirthName", "PatientMotherBirthName", "OtherPatientNames"),
    *("PatientID", "OtherPatientIDs", "PatientBirthDate", "AccessionNumber"),
    *("ReferringPhysicianName", "OperatorsName", "PerformingPhysicianName"),
)
_MIN_PART_LENGTH: Final = 3
"""Shorter parts of a name or an id occur in the name of every scanner."""


class MetricEvent(BaseModel):
    """One child process, and the attempt that ended if `outcome` is not empty.

    `gpu_bytes` is the allocated memory and its peak, `graded` counts by (condition, severity),
    `not_assessed` by (condition, reason).
    """

    model_config = ConfigDict(frozen=True)

    process: int
    bundle: str = ""
    bundle_version: str = ""
    bundle_sha256: str = ""
    device: str = ""
    gpu_bytes: tuple[int, int] | None = None
    outcome: str = ""
    code: str = ""
    seconds: float = 0.0
    steps_s: dict[str, float] = {}
    model: str = ""
    graded: list[tuple[str, str, int]] = []
    not_assessed: list[tuple[str, str, int]] = []


class MetricChannel:
    """A pair of datagram sockets, made before any fork: children send, the supervisor receives."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sender.setblocking(False)

    def send(self, event: MetricEvent) -> None:
        """Send an event; drop it if the buffer is full."""
        with suppress(OSError):
            self._sender.send(event.model_dump_json(exclude_defaults=True).encode())

    @property
    def receiver_fd(self) -> int:
        """The file descriptor for the supervisor; it stays open here for the next supervisor."""
        return self._receiver.fileno()


def receive(receiver: socket.socket) -> MetricEvent | None:
    """Wait for the next event; None for a datagram that is none."""
    try:
        return MetricEvent.model_validate_json(receiver.recv(MAX_EVENT_BYTES))
    except ValidationError:
        return None


class MetricRecorder:
    """Times the steps of the study that its process grades, and sends the outcome."""

    def __init__(self, channel: MetricChannel | None = None, bundle: Bundle | None = None) -> None:
        self._channel = channel
        self._bundle = bundle
        self.begin()

    def begin(self) -> None:
        """Begin an attempt."""
        self._begun = self._step_begun = time.monotonic()
        self._step = "start"
        self._steps_s: dict[str, float] = {}
        self._findings: dict[str, object] = {}

    def step(self, name: str) -> None:
        """Begin a step, which ends the one before."""
        now = time.monotonic()
        seconds = now - self._step_begun
        self._steps_s[self._step] = self._steps_s.get(self._step, 0.0) + seconds
        self._step, self._step_begun = name, now

    def graded(self, study: GradedStudy) -> None:
        """Record the findings of the study and the model of its scanner."""
        self._findings = {
            "model": scanner_model(study.routed),
            "graded": _counted((f.target.condition, f.severity) for f in study.report.graded),
            "not_assessed": _counted(
                (f.target.condition, f.reason) for f in study.report.not_assessed
            ),
        }

    def end(self, outcome: str, code: str = "") -> None:
        """End the attempt, by an error if there is a code, and send its event."""
        if not code:  # an error interrupts the last step
            self.step("")
        self._send(
            outcome=outcome,
            code=code,
            seconds=time.monotonic() - self._begun,
            steps_s=self._steps_s,
            **self._findings,
        )

    def ready(self) -> None:
        """Send that the process is ready to grade."""
        self._send()

    def _send(self, **details: object) -> None:
        if self._channel is None or self._bundle is None:
            return
        identity, device = self._bundle.identity, self._bundle.runner.device
        self._channel.send(
            MetricEvent.model_validate(
                {
                    "process": os.getpid(),
                    "bundle": identity.name,
                    "bundle_version": identity.version,
                    "bundle_sha256": identity.sha256,
                    "device": str(device),
                    "gpu_bytes": _gpu_bytes(device),
                    **details,
                }
            )
        )


def scanner_model(routed: RoutedStudy) -> str:
    """Manufacturer's Model Name (0008,1090) of the graded series, as a metric label.

    At most 32 plain characters. Withheld if it contains a part of a person's name, id or date of
    birth: some exporters write those into any attribute.
    """
    series = (one for role in routed.roles.values() for one in role)
    models = [name for one in series if (name := one.acquisition.model_name.strip())]
    personal = _personal(routed.study.sources.values()) if models else set()
    for name in models:
        plain = " ".join(re.sub(r"[^A-Za-z0-9 ._+/-]", " ", name).split())
        label = plain[:MAX_MODEL_LENGTH].strip()
        if label and not any(part in name.casefold() for part in personal):
            return label
    return WITHHELD if models else UNKNOWN


def _personal(headers: Iterable[Dataset]) -> set[str]:
    """The parts of all values in these headers that identify a person."""
    values = {text(header, keyword) for header in headers for keyword in _PERSON}
    parts = {part for value in values for part in re.findall(r"[^\W_]+", value.casefold())}
    return {part for part in parts if len(part) >= _MIN_PART_LENGTH}


def _counted(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str, int]]:
    return [(str(a), str(b), count) for (a, b), count in Counter(pairs).items()]


def _gpu_bytes(device: torch.device) -> tuple[int, int] | None:
    """GPU memory that this process has allocated, and its peak; None without a GPU."""
    if device.type != "cuda":
        return None
    import torch  # only child processes load it

    return torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device)
