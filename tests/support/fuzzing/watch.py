"""Watches a runner from outside: stops cases that hang, crash or use too much memory."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.support.fuzzing.values import MARKS

DEADLINE_S = 10.0
"""What one case may take of the processor: a busy machine is no hang."""

SLEEPING = 12
"""So many deadlines by the clock, and a case that needs no processor hangs too."""

PEAK_MB = 2048
"""What a process that grades may hold."""

START_S = 300.0
"""What imports and models may take by the clock."""

_LOOK_S = 0.5


class CaseFailed(AssertionError):
    """A case with an outcome that is not allowed; the message says how to rerun it."""


@dataclass
class Tally:
    """What became of the cases of one runner."""

    ends: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    peak_mb: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.ends + other.ends,
            max(self.slowest_s, other.slowest_s),
            max(self.peak_mb, other.peak_mb),
        )

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {name}" for name, count in self.ends.most_common())
        return (
            f"{self.ends.total()} cases: {ends}; slowest {self.slowest_s:.1f} s, "
            f"at most {self.peak_mb} MB"
        )


def runner(*options: str) -> list[str]:
    """The command that runs cases."""
    return [sys.executable, "-m", "tests.support.fuzzing.runner", *options]


def watch(*commands: Sequence[str], deadline_s: float = DEADLINE_S) -> Tally:
    """Run programs that report cases like `runner` in parallel, and add up their cases.

    Raises CaseFailed for the first case that fails, takes longer than `deadline_s`, needs more
    than `PEAK_MB`, or ends its process; and for patient data on any output.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryFile("w+") as errors:
        started = [
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
            )
            for command in commands
        ]
        try:
            total = sum((_Runner(process, deadline_s).tally() for process in started), Tally())
        finally:
            for process in started:
                process.kill()
                process.wait()
        errors.seek(0)
        output = errors.read()
    if any(mark in output for mark in MARKS):
        raise CaseFailed("standard error names the patient")
    return total


class _Runner:
    """One process; a thread reads its output, so that a timeout can be detected."""

    def __init__(self, process: subprocess.Popen[str], deadline_s: float) -> None:
        self._process, self._deadline_s = process, deadline_s
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._ended = Tally()
        self._failure: Exception | None = None
        assert process.stdout is not None
        threading.Thread(target=self._listen, args=(process.stdout,), daemon=True).start()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def tally(self) -> Tally:
        """Wait for the end of the process."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._ended

    def _listen(self, stdout: IO[str]) -> None:
        for line in stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _follow(self) -> None:
        try:
            for case, message in self._messages():
                self._record(case, message)
        except CaseFailed as found:
            self._failure = found
            self._process.kill()

    def _messages(self) -> Iterator[tuple[str, dict[str, object]]]:
        """Each message after a case's first, with the case."""
        case = ""
        while True:
            line = self._line(case)
            if line is None:
                if self._process.wait() != 0:
                    raise _failed(f"ended its process with {self._process.returncode}", case)
                return
            message = json.loads(line)
            if "begun" in message:
                case = message["begun"]
                continue
            yield case, message
            case = ""

    def _line(self, case: str) -> str | None:
        """The next line, None at the end of the output."""
        begun, used = time.monotonic(), self._used_s()
        while True:
            try:
                return self._lines.get(timeout=_LOOK_S)
            except queue.Empty:
                waited, taken = time.monotonic() - begun, self._used_s() - used
            if waited > (SLEEPING * self._deadline_s if case else START_S) or (
                case and taken > self._deadline_s
            ):
                raise _failed(f"took too long: {waited:.0f} s", case)

    def _used_s(self) -> float:
        """The processor time of the process so far (proc(5))."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _record(self, case: str, message: dict[str, object]) -> None:
        if "failed" in message:
            raise CaseFailed(str(message["failed"]))
        seconds, peak_mb = float(str(message["seconds"])), int(str(message["peak_mb"]))
        if peak_mb > PEAK_MB:
            raise _failed(f"needed {peak_mb} MB", case)
        if seconds > self._deadline_s:
            raise _failed(f"took {seconds} s", case)
        self._ended += Tally(Counter([str(message["ended"])]), seconds, peak_mb)


def _failed(what: str, case: str) -> CaseFailed:
    return CaseFailed(
        f"a case {what}; rerun it with python -m tests.support.fuzzing.rerun <<'END'\n{case}\nEND"
    )
