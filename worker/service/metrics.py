"""The metrics page: counts of the children's events, and gauges of the last probes.

Gauges of the queue are about the whole queue, so that every worker's page shows the same.
Labels hold codes and no patient data; labels from headers are bounded in number.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from worker import __version__
from worker.service.events import RETRIED, MetricEvent
from worker.service.jobs import Priority

MAX_MODELS: Final = 50
"""Scanner models with a label of their own; the rest are `other`."""
_STEP_S: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
_STUDY_S: Final = (1, 2.5, 5, 10, 20, 40, 60, 90, 120, 180, 300, 600, 900)
OTHER: Final = "other"
SUCCESSES: Final = ("graded", "already_graded")
TRANSIENT: Final = ("ArchiveUnavailable", "DeviceBusy")
INITIAL_SERIES: Final = (
    *((outcome, "") for outcome in (*SUCCESSES, "waiting", "skipped")),
    *(
        ("rejected", code)
        for code in (
            *("NotLumbar", "NoUsableSeries", "BrokenStudy", "SeveralPatients"),
            *("IncompleteStudy", "StudyGone"),
        )
    ),
    *(("failed", code) for code in ("TooManyAttempts", "TimeLimit", *TRANSIENT)),
)
"""Series that exist before their first study: `increase()` does not see a series that begins
with 1."""

disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class QueueState:
    """The queue at the time of the last probe; ages in seconds, None if there is nothing."""

    depth: dict[Priority, int]
    oldest_s: float
    scheduled: int
    running: int
    dead_letters: int
    busy_s: float
    """For how long the queue has not been empty, 0 if it is."""
    ended_s: float | None
    """Since a study ended, in any way and in any worker."""
    succeeded_s: float | None
    to_forward: int | None = None
    """Reports that wait to be forwarded, None without a destination."""


class Metrics:
    """The metrics of one worker; `gauges` returns those of the current state."""

    def __init__(self, gauges: Callable[[], Iterator[Metric]]) -> None:
        self._registry = CollectorRegistry()
        self._models: set[str] = set()
        self._children: dict[int, MetricEvent] = {}
        self._lock = threading.Lock()
        self.studies = Counter(
            "lumbar_studies",
            "Studies that ended, by outcome and, if not graded, the error's name.",
            ("outcome", "code"),
            registry=self._registry,
        )
        self.retries = Counter(
            "lumbar_retries",
            "Attempts that ended with a transient error, by the error's name.",
            ("code",),
            registry=self._registry,
        )
        self.steps = Histogram(
            "lumbar_step_seconds",
            "Duration of a step in seconds.",
            ("step",),
            buckets=_STEP_S,
            registry=self._registry,
        )
        self.durations = Histogram(
            "lumbar_study_seconds",
            "Duration of a study's last attempt in seconds, without queueing, by outcome.",
            ("outcome",),
            buckets=_STUDY_S,
            registry=self._registry,
        )
        self.findings = Counter(
            "lumbar_findings",
            "Graded targets.",
            ("condition", "severity", "model"),
            registry=self._registry,
        )
        self.not_assessed = Counter(
            "lumbar_not_assessed",
            "Targets without a grade, by reason.",
            ("condition", "reason", "model"),
            registry=self._registry,
        )
        for outcome, code in INITIAL_SERIES:
            self.studies.labels(outcome, code)
        for code in TRANSIENT:
            self.retries.labels(code)
        self._registry.register(_Gauges(self._child_gauges, gauges))

    def record(self, event: MetricEvent) -> None:
        """Count the event of a child."""
        with self._lock:
            self._children[event.process] = event
        if not event.outcome:
            return
        for step, seconds in event.steps_s.items():
            self.steps.labels(step).observe(seconds)
        if event.outcome == RETRIED:
            self.retries.labels(event.code).inc()
            return
        self.studies.labels(event.outcome, event.code).inc()
        self.durations.labels(event.outcome).observe(event.seconds)
        model = self._bounded(event.model)
        for condition, severity, count in event.graded:
            self.findings.labels(condition, severity, model).inc(count)
        for condition, reason, count in event.not_assessed:
            self.not_assessed.labels(condition, reason, model).inc(count)

    def page(self) -> bytes:
        """The page in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)

    def _bounded(self, model: str) -> str:
        if model not in self._models and len(self._models) >= MAX_MODELS:
            return OTHER
        self._models.add(model)
        return model

    def _child_gauges(self) -> Iterator[Metric]:
        """The running build, and the memory of each GPU that running children hold."""
        with self._lock:
            self._children = {p: event for p, event in self._children.items() if _is_alive(p)}
            children = list(self._children.values())
        build = GaugeMetricFamily(
            "lumbar_build_info",
            "Always 1; the labels name the versions.",
            labels=("software", "bundle", "bundle_version"),
        )
        for bundle in {(n.bundle, n.bundle_version) for n in children} or {("", "")}:
            build.add_metric((__version__, *bundle), 1)
        yield build
        on_gpus = [(n.device, n.gpu_bytes) for n in children if n.gpu_bytes is not None]
        for place, name, what in (
            (0, "allocated", "GPU memory that the worker's processes have allocated."),
            (1, "peak", "Sum of the peaks of GPU memory of the worker's processes."),
        ):
            memory = GaugeMetricFamily(f"lumbar_gpu_memory_{name}_bytes", what, labels=("device",))
            for device in sorted({device for device, _ in on_gpus}):
                held = sum(pair[place] for found, pair in on_gpus if found == device)
                memory.add_metric((device,), held)
            if on_gpus:
                yield memory


def queue_gauges(state: QueueState) -> Iterator[Metric]:
    """The gauges of a queue."""
    depth = GaugeMetricFamily(
        "lumbar_queue_messages", "Messages in the queue, by priority.", labels=("priority",)
    )
    for priority, count in state.depth.items():
        depth.add_metric((priority.name.lower(),), count)
    yield depth
    for name, what, value in (
        ("queue_oldest_age_seconds", "Age of the oldest message.", state.oldest_s),
        ("studies_waiting_retry", "Studies that wait for their next attempt.", state.scheduled),
        ("studies_running", "Studies being graded, in all workers.", state.running),
        ("dead_letters", "Studies that are not tried again.", state.dead_letters),
        ("reports_waiting_forward", "Reports that wait to be forwarded.", state.to_forward),
        (
            "last_success_age_seconds",
            "Seconds since a study was graded or found graded, in any worker.",
            state.succeeded_s,
        ),
    ):
        if value is not None:
            yield GaugeMetricFamily(f"lumbar_{name}", what, value=value)


def boolean_gauge(name: str, what: str, value: bool) -> Metric:
    """A gauge that is 1 or 0."""
    return GaugeMetricFamily(f"lumbar_{name}", what, value=int(value))


class _Gauges(Collector):
    """Gauges that are computed when the page is requested."""

    def __init__(self, *sources: Callable[[], Iterator[Metric]]) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        for source in self._sources:
            yield from source()

    def describe(self) -> Iterator[Metric]:
        return iter(())


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
