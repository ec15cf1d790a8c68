"""A child process with a log of its own, which ends with the body that started it."""

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
# Debian's daemons lie in sbin. Nothing of a virtual environment stands in front: Orthanc's
# embedded Python would take that for its home and find no kombu.
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


class StackError(Exception):
    """A server is not installed, does not start or has died; the message says what to do."""


@dataclass(eq=False)
class Process:
    """A child of ours with a process group and a log of its own; it can be killed and restarted."""

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
        # A group of its own keeps Ctrl-C with us, so that we end the servers in order; should we
        # be killed ourselves (or the thread of ours that started it end), the kernel ends them
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
        """Raise StackError when it dies before, or is not ready after `start_s`."""
        self.wait_until(lambda: self.ready(self), self.start_s)

    def restart(self) -> None:
        """Start the same command once more and wait until it is ready; its log goes on.

        What still runs of it is killed before, its children too, as a service manager does.
        """
        self._end_group()
        self._spawn()
        self.wait_until_ready()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal that ends it, and wait for that; its own children are left alone."""
        self.popen.send_signal(number)
        self.popen.wait(STOP_S)

    def kill_group(self) -> None:
        """SIGKILL it and its children together, as the end of a machine does."""
        self._end_group()

    def said(self) -> str:
        """What it has logged since it was started last."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def check(self) -> None:
        """Raise StackError with the end of the log when it has ended."""
        if (code := self.popen.poll()) is not None:
            raise StackError(f"{self.name} ended with code {code}.\n{self.tail()}")

    def wait_until(self, ready: Callable[[], bool], timeout_s: float = START_S) -> None:
        """Wait until `ready` says so; raise StackError when it dies or takes too long."""
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
        """Ask it to end, then end its whole group; returns when nothing of it is left."""
        self.popen.terminate()
        try:
            self.popen.wait(STOP_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._end_group()

    def _end_group(self) -> None:
        # The group outlives its leader where a child of it does.
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
    """A ready process of our own that has ended, with all its children, when the body is left."""
    log.unlink(missing_ok=True)
    process = Process(name, command, log, environment, ready, start_s)
    try:
        process.wait_until_ready()
        yield process
    finally:
        process.stop()


def free_port() -> int:
    """A port of the loopback interface that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])


def binary(name: str) -> str:
    """The path of a server; raise StackError when it is not installed."""
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
