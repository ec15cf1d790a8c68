"""The page of metrics: counts of what the children told, and what was looked up last.

Gauges of the queue are about the whole queue, so that each worker's page says the same.
Labels hold codes and nothing of patients; those that come from headers are bounded.
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
from worker.service.events import RETRIED, News
from worker.service.queue import Priority

MOST_MODELS: Final = 50
"""So many scanner models are told apart; the rest are `other`."""
_STEP_S: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
_STUDY_S: Final = (1, 2.5, 5, 10, 20, 40, 60, 90, 120, 180, 300, 600, 900)
OTHER: Final = "other"
SUCCESSES: Final = ("graded", "nothing_new")
PASSING: Final = ("ArchiveUnavailable", "DeviceBusy")
FROM_THE_START: Final = (
    *((outcome, "") for outcome in (*SUCCESSES, "waiting", "left")),
    *(
        ("rejected", code)
        for code in ("NotLumbar", "NoUsableSeries", "BrokenStudy", "IncompleteStudy", "StudyGone")
    ),
    *(("failed", code) for code in ("TooManyDeliveries", "TimeLimit", *PASSING)),
)
"""Series that are there before their first study: `increase()` does not see the 1 that a series
begins with."""

disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class QueueState:
    """The queue as it was looked at last; ages in seconds, None where there is nothing."""

    depth: dict[Priority, int]
    oldest_s: float
    later: int
    running: int
    dead_letters: int
    busy_s: float
    """For how long there has been something to do, 0 where there is not."""
    ended_s: float | None
    """Since a study came to its end, in any way and in any worker."""
    succeeded_s: float | None
    onward: int | None = None
    """Reports that wait to be sent on, None where there is nowhere to send them."""


class Metrics:
    """What one worker's page says; `looked_up` gives the gauges of each moment."""

    def __init__(self, looked_up: Callable[[], Iterator[Metric]]) -> None:
        self._registry = CollectorRegistry()
        self._models: set[str] = set()
        self._children: dict[int, News] = {}
        self._lock = threading.Lock()
        self.studies = Counter(
            "lumbar_studies",
            "Studies that came to an end, by outcome and, where not graded, the error's name.",
            ("outcome", "code"),
            registry=self._registry,
        )
        self.retries = Counter(
            "lumbar_retries",
            "Tries that ended with a reason that may pass, by the error's name.",
            ("code",),
            registry=self._registry,
        )
        self.steps = Histogram(
            "lumbar_step_seconds",
            "Seconds that a step took.",
            ("step",),
            buckets=_STEP_S,
            registry=self._registry,
        )
        self.whole = Histogram(
            "lumbar_study_seconds",
            "Seconds of a study's last try, without earlier tries and waits, by outcome.",
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
            "Targets without a grade, by the reason.",
            ("condition", "reason", "model"),
            registry=self._registry,
        )
        for outcome, code in FROM_THE_START:
            self.studies.labels(outcome, code)
        for code in PASSING:
            self.retries.labels(code)
        self._registry.register(_Gauges(self._of_children, looked_up))

    def take(self, news: News) -> None:
        """Count what a child told."""
        with self._lock:
            self._children[news.process] = news
        if not news.outcome:
            return
        for step, seconds in news.steps_s.items():
            self.steps.labels(step).observe(seconds)
        if news.outcome == RETRIED:
            self.retries.labels(news.code).inc()
            return
        self.studies.labels(news.outcome, news.code).inc()
        self.whole.labels(news.outcome).observe(news.seconds)
        model = self._bounded(news.model)
        for condition, severity, count in news.graded:
            self.findings.labels(condition, severity, model).inc(count)
        for condition, reason, count in news.not_assessed:
            self.not_assessed.labels(condition, reason, model).inc(count)

    def page(self) -> bytes:
        """The page in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)

    def _bounded(self, model: str) -> str:
        if model not in self._models and len(self._models) >= MOST_MODELS:
            return OTHER
        self._models.add(model)
        return model

    def _of_children(self) -> Iterator[Metric]:
        """The build that runs, and the memory that living children hold of each GPU."""
        with self._lock:
            self._children = {p: n for p, n in self._children.items() if _lives(p)}
            children = list(self._children.values())
        build = GaugeMetricFamily(
            "lumbar_build_info",
            "Always 1: what runs here.",
            labels=("software", "bundle", "bundle_version"),
        )
        for bundle in {(n.bundle, n.bundle_version) for n in children} or {("", "")}:
            build.add_metric((__version__, *bundle), 1)
        yield build
        of_gpus = [(n.device, n.gpu_bytes) for n in children if n.gpu_bytes is not None]
        for place, name, what in (
            (0, "allocated", "Memory that the worker's processes hold."),
            (1, "peak", "The most that each process ever held, summed."),
        ):
            memory = GaugeMetricFamily(f"lumbar_gpu_memory_{name}_bytes", what, labels=("device",))
            for device in sorted({device for device, _ in of_gpus}):
                held = sum(pair[place] for found, pair in of_gpus if found == device)
                memory.add_metric((device,), held)
            if of_gpus:
                yield memory


def of_queue(state: QueueState) -> Iterator[Metric]:
    """The gauges of a queue."""
    depth = GaugeMetricFamily(
        "lumbar_queue_messages", "Messages that wait, by priority.", labels=("priority",)
    )
    for priority, count in state.depth.items():
        depth.add_metric((priority.name.lower(),), count)
    yield depth
    for name, what, value in (
        ("queue_oldest_age_seconds", "Age of the message that waits longest.", state.oldest_s),
        ("studies_waiting_retry", "Studies that wait for their next try.", state.later),
        ("studies_running", "Studies that are being graded, in all workers.", state.running),
        ("dead_letters", "Studies that were given up.", state.dead_letters),
        ("reports_waiting_onward", "Reports that wait to be sent on.", state.onward),
        (
            "last_success_age_seconds",
            "Since a study was graded or found graded, in any worker.",
            state.succeeded_s,
        ),
    ):
        if value is not None:
            yield GaugeMetricFamily(f"lumbar_{name}", what, value=value)


def flag(name: str, what: str, value: bool) -> Metric:
    """A gauge that is 1 or 0."""
    return GaugeMetricFamily(f"lumbar_{name}", what, value=int(value))


class _Gauges(Collector):
    """What is not counted but is so at the moment of asking."""

    def __init__(self, *sources: Callable[[], Iterator[Metric]]) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        for source in self._sources:
            yield from source()

    def describe(self) -> Iterator[Metric]:
        return iter(())


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
