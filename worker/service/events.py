"""What the children tell the keeper of their studies, for its metrics: one datagram a try.

Not prometheus_client's files for several processes: those outlive dead children, decide by an
environment variable at import, and a full disk would kill the child that writes them. A
datagram that nobody takes is lost, and grading goes on.
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

from worker.intake.elements import text

if TYPE_CHECKING:
    import torch
    from pydicom import Dataset

    from worker.domain.graded_study import GradedStudy
    from worker.domain.study import RoutedStudy
    from worker.models.loading import Bundle

LONGEST_BYTES: Final = 65_536
LONGEST_MODEL: Final = 32
RETRIED: Final = "retried"
"""What is told of a try that is followed by another."""
UNKNOWN, WITHHELD = "unknown", "withheld"

_PERSON: Final = (
    *("PatientName", "PatientBirthName", "PatientMotherBirthName", "OtherPatientNames"),
    *("PatientID", "OtherPatientIDs", "PatientBirthDate", "AccessionNumber"),
    *("ReferringPhysicianName", "OperatorsName", "PerformingPhysicianName"),
)
_TELLING: Final = 3
"""Shorter parts of a name or an id are found in the name of every scanner."""


class News(BaseModel):
    """What one child tells: of itself, and of the try that ended where `outcome` is not empty.

    `steps_s` is in seconds, `gpu_bytes` holds what is allocated and the most that ever was,
    `graded` counts by (condition, severity), `not_assessed` by (condition, reason).
    """

    model_config = ConfigDict(frozen=True)

    process: int
    bundle: str = ""
    bundle_version: str = ""
    device: str = ""
    gpu_bytes: tuple[int, int] | None = None
    outcome: str = ""
    code: str = ""
    seconds: float = 0.0
    steps_s: dict[str, float] = {}
    model: str = ""
    graded: list[tuple[str, str, int]] = []
    not_assessed: list[tuple[str, str, int]] = []


class Wire:
    """A pair of datagram sockets, made before any fork: the children's end, the keeper's end."""

    def __init__(self) -> None:
        self._listening, self._telling = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._telling.setblocking(False)

    def tell(self, news: News) -> None:
        """Send, or let it be where nobody listens."""
        with suppress(OSError):
            self._telling.send(news.model_dump_json(exclude_defaults=True).encode())

    @property
    def keepers_end(self) -> int:
        """The file descriptor to hand to the keeper; ours stays open for the next keeper."""
        return self._listening.fileno()


def hear(listening: socket.socket) -> News | None:
    """Wait for the next news; None for what is none."""
    try:
        return News.model_validate_json(listening.recv(LONGEST_BYTES))
    except ValidationError:
        return None


class Teller:
    """Follows the one study that its process grades, and tells how it ended."""

    def __init__(self, wire: Wire | None = None, bundle: Bundle | None = None) -> None:
        self._wire = wire
        self._bundle = bundle
        self.begin()

    def begin(self) -> None:
        """A try begins."""
        self._begun = self._step_begun = time.monotonic()
        self._step = "start"
        self._steps_s: dict[str, float] = {}
        self._told: dict[str, object] = {}

    def step(self, name: str) -> None:
        """A step begins, and the one before it has ended."""
        now = time.monotonic()
        seconds = now - self._step_begun
        self._steps_s[self._step] = self._steps_s.get(self._step, 0.0) + seconds
        self._step, self._step_begun = name, now

    def graded(self, study: GradedStudy) -> None:
        """The study was graded: what was found, and by which scanner."""
        self._told = {
            "model": scanner_model(study.routed),
            "graded": _counted((f.target.condition, f.severity) for f in study.report.graded),
            "not_assessed": _counted(
                (f.target.condition, f.reason) for f in study.report.not_assessed
            ),
        }

    def end(self, outcome: str, code: str = "") -> None:
        """The try has ended, by an error where there is a code: tell of it."""
        if not code:  # else the last step was cut short
            self.step("")
        self._tell(
            outcome=outcome,
            code=code,
            seconds=time.monotonic() - self._begun,
            steps_s=self._steps_s,
            **self._told,
        )

    def introduce(self) -> None:
        """The process is ready to grade."""
        self._tell()

    def _tell(self, **told: object) -> None:
        if self._wire is None or self._bundle is None:
            return
        identity, device = self._bundle.identity, self._bundle.device
        self._wire.tell(
            News.model_validate(
                {
                    "process": os.getpid(),
                    "bundle": identity.name,
                    "bundle_version": identity.version,
                    "device": str(device),
                    "gpu_bytes": _gpu_bytes(device),
                    **told,
                }
            )
        )


def scanner_model(routed: RoutedStudy) -> str:
    """Manufacturer's Model Name (0008,1090) of the series that were graded, fit to be shown.

    Plain characters, 32 of them at most. Withheld where it holds a part of the name, an id or
    a date of a person: some exporters and some people write those anywhere.
    """
    series = (one for found in routed.roles.values() for one in found)
    models = [name for one in series if (name := one.acquisition.model_name.strip())]
    personal = _personal(routed.study.sources.values()) if models else set()
    for name in models:
        shown = " ".join(re.sub(r"[^A-Za-z0-9 ._+/-]", " ", name).split())[:LONGEST_MODEL].strip()
        if shown and not any(part in name.casefold() for part in personal):
            return shown
    return WITHHELD if models else UNKNOWN


def _personal(headers: Iterable[Dataset]) -> set[str]:
    """The parts of everything in these headers that names a person."""
    said = {text(header, keyword) for header in headers for keyword in _PERSON}
    parts = {part for value in said for part in re.findall(r"[^\W_]+", value.casefold())}
    return {part for part in parts if len(part) >= _TELLING}


def _counted(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str, int]]:
    return [(str(a), str(b), count) for (a, b), count in Counter(pairs).items()]


def _gpu_bytes(device: torch.device) -> tuple[int, int] | None:
    """What this process holds of a GPU's memory, and the most that it held; None without one."""
    if device.type != "cuda":
        return None
    import torch  # only the child has loaded it

    return torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device)
