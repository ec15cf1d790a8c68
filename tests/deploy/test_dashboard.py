"""The dashboard, the alert rules and the table of metrics name existing metrics."""

from __future__ import annotations

import re

import pytest

from deploy.demo import stack
from worker.service.events import MetricEvent
from worker.service.jobs import Priority
from worker.service.metrics import Metrics, QueueState, boolean_gauge, queue_gauges

DEPLOY = stack.ROOT / "deploy"
STATE = QueueState(dict.fromkeys(Priority, 0), 0.0, 0, 0, 0, 0.0, 0.0, 0.0, to_forward=0)


@pytest.fixture(scope="module")
def existing() -> set[str]:
    """The names of all samples that the page can contain."""
    metrics = Metrics(lambda: (*queue_gauges(STATE), *(boolean_gauge(f, "", True) for f in FLAGS)))
    metrics.record(EVENT)
    metrics.record(EVENT.model_copy(update={"outcome": "retried"}))
    return set(re.findall(r"^(lumbar_\w+)", metrics.page().decode(), re.MULTILINE))


FLAGS = ("redis_up", "archive_up", "ready")
EVENT = MetricEvent(
    process=1,
    outcome="graded",
    device="cuda:0",
    gpu_bytes=(1, 2),
    steps_s={"grade": 1.0},
    graded=[("c", "severe", 1)],
    not_assessed=[("c", "uncertain", 1)],
)


def named(text: str) -> set[str]:
    return set(re.findall(r"lumbar_[a-z_]+[a-z]", text))


def test_the_dashboard_queries_existing_metrics(existing):
    """Each metric of a query exists."""
    asked = named((DEPLOY / "dashboards" / "lumbar.json").read_text())
    assert len(asked) > 10
    assert asked <= existing


def test_the_readme_lists_every_metric_and_no_other(existing):
    """The table and the rules of deploy/README.md name all metrics."""
    text = (DEPLOY / "README.md").read_text()
    section = text.partition("## Monitoring")[2].partition("## Backup")[0]
    written = named(section) - {"lumbar_inside"}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in existing}
    families -= {"lumbar_gpu_memory_peak_bytes"}  # in the table as `..._peak_bytes`
    assert written == families
