"""Child processes, each with its own log, that are stopped when a `with` body ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = "redis-server orthanc orthanc-python orthanc-dicomweb python3-kombu python3-redis"
LOOPBACK = "127.0.0.1"
START_S = 60.0
STOP_S = 20.0
# Debian's daemons are in sbin. Without the virtual environment: Orthanc's embedded Python would
# use it as its home and not find kombu.
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


class StackError(Exception):
    """A server is not installed, does not start or has exited; the message says what to do."""


@dataclass(eq=False)
class Process:
    """A child process with its own process group and log; it can be killed and restarted."""

    name: str
    command: list[str]
    log: Path
    environment: Mapping[str, str] | None = None
    ready: Callable[[Process], bool] = lambda _: True
    start_s: float = START_S
    popen: subprocess.Popen[bytes] = field(init=False)
    _log_start: int = field(init=False)

    def __post_init__(self) -> None:
        self._spawn()

    def _spawn(self) -> None:
        # With its own group it does not receive Ctrl-C, and the servers are stopped in order. If
        # this process is killed (or the thread that started it ends), the kernel stops the child
        # (setpriv is part of util-linux).
        setpriv = shutil.which("setpriv", path=SYSTEM_PATH)
        with self.log.open("ab") as output:
            self._log_start = output.tell()
            self.popen = subprocess.Popen(
                [*([setpriv, "--pdeathsig", "TERM"] if setpriv else []), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(self.environment) if self.environment is not None else None,
                cwd=self.log.parent,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Raise StackError if it exits, or is not ready after `start_s`."""
        self.wait_until(lambda: self.ready(self), self.start_s)

    def restart(self) -> None:
        """Start the same command again and wait until it is ready; its log is continued.

        Processes of its group that still run are killed first, as a service manager does.
        """
        self._end_group()
        self._spawn()
        self.wait_until_ready()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal that ends it, and wait; its children are not signalled."""
        self.popen.send_signal(number)
        self.popen.wait(STOP_S)

    def kill_group(self) -> None:
        """Send SIGKILL to it and its children, as if the machine had lost power."""
        self._end_group()

    def log_text(self) -> str:
        """Its log since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def check(self) -> None:
        """Raise StackError with the end of the log if it has exited."""
        if (code := self.popen.poll()) is not None:
            raise StackError(f"{self.name} ended with code {code}.\n{self.tail()}")

    def wait_until(self, ready: Callable[[], bool], timeout_s: float = START_S) -> None:
        """Wait until `ready` returns true; raise StackError if it exits or takes too long."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise StackError(
                    f"{self.name} is not ready after {timeout_s:.0f} s.\n{self.tail()}"
                )
            time.sleep(0.1)

    def tail(self, lines: int = 20) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join([f"The end of {self.log}:", *(f"  {line}" for line in text)])

    def stop(self) -> None:
        """Send SIGTERM, then SIGKILL to its group; return when all its processes have exited."""
        self.popen.terminate()
        try:
            self.popen.wait(STOP_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._end_group()

    def _end_group(self) -> None:
        # The group still exists if a child of the leader runs.
        if _group_exists(self.popen.pid):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


@contextmanager
def running(
    name: str,
    command: list[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    *,
    ready: Callable[[Process], bool] = lambda _: True,
    start_s: float = START_S,
) -> Iterator[Process]:
    """A process that is ready in the body, and stopped with all its children after it."""
    log.unlink(missing_ok=True)
    process = Process(name, command, log, environment, ready, start_s)
    try:
        process.wait_until_ready()
        yield process
    finally:
        process.stop()


def free_port() -> int:
    """A free port of the loopback interface."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])


def binary(name: str) -> str:
    """The path of a server; raise StackError if it is not installed."""
    if path := found(name):
        return path
    raise StackError(f"{name} is not installed: apt-get install {PACKAGES}")


def found(binary: str) -> str | None:
    """The path of an executable, daemons included, or None."""
    return shutil.which(binary, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
