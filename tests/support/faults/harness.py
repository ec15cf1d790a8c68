"""Servers for faults: Redis, Orthanc behind a proxy and a worker, and ways to break them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis

from deploy.demo import stack
from deploy.demo.process import running
from tests.support.faults import census, proxy
from tests.support.faults.studies import Study
from tests.support.faults.table import Row
from worker.service.broker import make_app
from worker.service.jobs import GradeJob
from worker.service.queue import Queue
from worker.settings import Settings

STEPS = ("headers", "route", "pixels", "localise", "grade", "store", "read back")
PATIENCE_S = 300.0
"""Long enough for a machine that does other work, too."""
QUEUE = "lumbar"
SETTINGS = {
    "LUMBAR_QUEUE": QUEUE,
    "LUMBAR_RECONCILE_S": "2",
    "LUMBAR_ORTHANC_TIMEOUT_S": "6",
    "LUMBAR_MAX_RETRIES": "2",
    # Redis redelivers an unacknowledged message after this and two minutes: before the last count.
    "LUMBAR_TIME_LIMIT_S": "30",
    "LUMBAR_STOP_S": "2",
    "LUMBAR_DEVICE": "cpu",
    "OMP_NUM_THREADS": "1",
}


@dataclass
class Trial:
    """One fault: what was sent, and when the fault was over."""

    fault: str
    sent: list[Study] = field(default_factory=list)
    over: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def ends(self) -> None:
        """Note that the fault is over: recovery begins."""
        self.over = time.monotonic()


@dataclass(eq=False)
class Servers:
    """The servers of a test, actions on them, and all studies that they were sent."""

    redis: stack.RedisServer
    orthanc: stack.OrthancServer
    proxy: proxy.Proxy
    worker: stack.Process
    client: httpx.Client
    new_study: Callable[[], Study]
    trials: list[Trial] = field(default_factory=list)

    # Actions.

    @contextmanager
    def trial(self, fault: str, *, heal: bool = True) -> Iterator[Trial]:
        """Run the body as a fault, then wait until every study that was sent has an outcome.

        Stopped servers are started before, unless `heal` is false.
        """
        if heal:
            self.heal()
        trial = Trial(fault)
        self.trials.append(trial)
        yield trial
        self.heal()
        self.wait_for_outcomes(trial)

    def send(self, trial: Trial, study: Study | None = None) -> str:
        """Send a study (a new one) for a trial; return Orthanc's id of it."""
        study = study or self.new_study()
        if all(study.uid != known.uid for known in trial.sent):
            trial.sent.append(study)
        return study.send(self.client)

    def wait_until_quiet(self, for_s: float = 2.0) -> None:
        """Wait until no study was queued or running for a while, nor its report arriving."""
        queue = queue_of(self)
        busy = [0.0]

        def quiet() -> bool:
            names = (QUEUE, *(f"{QUEUE}\x06\x16{n}" for n in (3, 6, 9)))
            if any(map(queue.exists, (*names, "lumbar:retry", "lumbar:running"))):
                busy[0] = time.monotonic()
            return time.monotonic() - busy[0] > for_s

        busy[0] = time.monotonic()
        self.wait(quiet, "quiet")

    def heal(self) -> None:
        """Start servers that are not running; reset the proxy."""
        self.proxy.fault = proxy.WELL
        for process in (self.redis.process, self.orthanc.process, self.worker):
            if process.popen.poll() is not None:
                process.restart()

    def wipe_redis(self) -> None:
        """Kill Redis and start it without its data."""
        self.redis.process.kill()
        shutil.rmtree(self.redis.process.log.parent / "appendonlydir")
        self.redis.process.restart()

    def child(self, worker: stack.Process | None = None) -> int:
        """The process id of the child that grades, of the first worker or another."""
        parent = (worker or self.worker).popen.pid
        return next(
            pid for pid in children(parent) if b"supervise" not in command_line(pid).split(b"\0")
        )

    def delete(self, sop_instance_uid: str) -> None:
        """Delete an image from the archive."""
        (match,) = self.client.post("/tools/lookup", content=sop_instance_uid).json()
        self.client.delete(match["Path"]).raise_for_status()

    @contextmanager
    def second_worker(self, variables: Mapping[str, str] | None = None) -> Iterator[stack.Process]:
        """Another worker with the settings of the first, except for some variables."""
        log = self.worker.log.with_name("second.log")
        with running(
            "The second worker",
            self.worker.command,
            log,
            {**(self.worker.environment or {}), **(variables or {})},
            ready=self.worker.ready,
            start_s=self.worker.start_s,
        ) as process:
            yield process

    def kill_child(self) -> None:
        """Send SIGKILL, as the kernel does when memory runs out."""
        os.kill(self.child(), signal.SIGKILL)

    # Observation.

    def events(self, study: str, since: int = 0) -> list[dict[str, Any]]:
        """The worker's log events about a study after this offset, oldest first."""
        with self.worker.log.open("rb") as log:
            log.seek(since)
            # The log of all trials is read many times a second: only its own lines are parsed.
            lines = [line for line in log if study.encode() in line]
        return [event for event in map(_event, lines) if event.get("study") == study]

    def place(self) -> int:
        """The current size of the worker's log."""
        return self.worker.log.stat().st_size

    def steps(self, study: str, since: int = 0) -> list[str]:
        """The steps of a study that the worker has begun."""
        return [e["step"] for e in self.events(study, since) if e["event"] == "step"]

    def wait_for_step(self, study: str, step: str, since: int = 0) -> None:
        """Wait until the worker begins a step of a study."""
        self.wait(lambda: step in self.steps(study, since), f"{step} of {study}")

    def wait_for_event(self, study: str, *names: str, since: int = 0) -> dict[str, Any]:
        """Wait for the first of some events that the worker logs of a study."""
        found: list[dict[str, Any]] = []

        def logged() -> bool:
            found[:] = [e for e in self.events(study, since) if e["event"] in names]
            return bool(found)

        self.wait(logged, f"{names} of {study}")
        return found[0]

    def wait(self, until: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
        """Wait for a condition; on a timeout, show the end of the worker's log."""
        deadline = time.monotonic() + patience_s
        while not until():
            assert time.monotonic() < deadline, f"timeout: {what}\n{self.worker.tail(60)}"
            self.restart_if_stuck()
            time.sleep(0.05)

    def restart_if_stuck(self) -> None:
        """Restart a worker that exited because its queue was not draining."""
        if self.worker.popen.poll() and "queue is not draining" in self.worker.log_text():
            warnings.warn("a worker did not drain the queue and was restarted", stacklevel=1)
            self.worker.restart()

    # Results.

    def wait_for_outcomes(self, trial: Trial) -> None:
        """Wait until each study of a trial is graded or has a record; note how long it took."""
        waiting = list(trial.sent)

        def settled() -> bool:
            while waiting:
                state = census.state_of(self.client, waiting[0])
                if not (state.graded or state.recorded):
                    time.sleep(0.3)
                    return False
                waiting.pop(0)
            return True

        self.wait(settled, f"the outcome of {len(trial.sent)} studies ({trial.fault})")
        trial.seconds = time.monotonic() - trial.over

    def record(self, study: str) -> dict[str, Any]:
        """The record of a study in the archive, by Orthanc's id."""
        found: dict[str, Any] = json.loads(self.client.get(census.NOTE.format(study)).text)
        return found

    def row(self, trial: Trial) -> Row:
        """The current state of a trial's studies in the archive."""
        states = [census.state_of(self.client, study) for study in trial.sent]
        return Row(trial.fault, census.count(states), trial.seconds)


@contextmanager
def running_servers(
    folder: Path,
    bundle: Path,
    new_study: Callable[[], Study],
    *,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Servers]:
    """New servers, all ready; `variables` are for Orthanc and the worker."""
    with ExitStack() as started:
        queue = started.enter_context(stack.redis_server(folder))
        orthanc = started.enter_context(
            stack.orthanc_server(
                folder, queue.url, stable_age_s=1, queue=QUEUE, variables=variables
            )
        )
        between = started.enter_context(proxy.proxying(orthanc.url))
        settings = SETTINGS | {
            "LUMBAR_BUNDLE": str(bundle),
            "LUMBAR_ORTHANC_URL": between.url,
            **(variables or {}),
        }
        worker = started.enter_context(
            stack.lumbar_worker(folder, queue.url, orthanc, variables=settings)
        )
        client = started.enter_context(orthanc.client())
        # Orthanc lets go of connections after a second, just when the next request comes.
        client.headers["Connection"] = "close"
        yield Servers(queue, orthanc, between, worker, client, new_study)


def children(parent: int) -> Sequence[int]:
    """The processes that a process has started."""
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return sorted(int(pid) for task in tasks for pid in task.read_text().split())


def command_line(pid: int) -> bytes:
    """The command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        return {}  # of another library, or a line that is being written
    return event if isinstance(event, dict) else {}


def announce(servers: Servers, study: str) -> None:
    """Announce a study once more."""
    settings = Settings(redis_url=servers.redis.url, queue=QUEUE)
    with queue_of(servers) as client:
        Queue(make_app(settings), client, QUEUE).send(GradeJob(study))


def queue_of(servers: Servers) -> redis.Redis[bytes]:
    """A client of their Redis."""
    return redis.Redis.from_url(servers.redis.url)
