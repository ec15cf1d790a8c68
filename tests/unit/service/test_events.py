"""Metric events of the children, and the metrics page made of them."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydicom import Dataset

from worker.domain.study import Acquisition, Role, RoutedStudy, Series, Study
from worker.errors import (
    ArchiveUnavailable,
    BrokenStudy,
    DeviceBusy,
    NotLumbar,
    NoUsableSeries,
    SeveralPatients,
    StudyGone,
)
from worker.service.attempts import TimeLimit, TooManyAttempts
from worker.service.events import (
    RETRIED,
    UNKNOWN,
    WITHHELD,
    MetricChannel,
    MetricEvent,
    MetricRecorder,
    receive,
    scanner_model,
)
from worker.service.grading import IncompleteStudy
from worker.service.metrics import INITIAL_SERIES, MAX_MODELS, OTHER, TRANSIENT, Metrics
from worker.service.records import Outcome

STUDIES, RETRIES = "lumbar_studies_total", "lumbar_retries_total"


def routed(*models: str, **patient: str) -> RoutedStudy:
    header = Dataset()
    for keyword, value in patient.items():
        setattr(header, keyword, value)
    series = tuple(Series(f"1.{i}", Acquisition(model_name=m), ()) for i, m in enumerate(models))
    study = Study("1", series, sources={("1.0", "1.0.1"): header})
    return RoutedStudy(study, {Role.SAGITTAL_T2: series}, ())


@pytest.mark.parametrize(
    ("models", "patient", "shown"),
    [
        ((), {}, UNKNOWN),
        (("", " "), {}, UNKNOWN),
        (("Aera 1.5T",), {"PatientName": "Doe^Jane"}, "Aera 1.5T"),
        (('A"b\n{c}\\d é',), {}, "A b c d"),
        (("x" * 99,), {}, "x" * 32),
        (("Aera of Jane",), {"PatientName": "Doe^Jane"}, WITHHELD),
        (("JANEDOE", "Aera"), {"PatientName": "doe^jane"}, "Aera"),
        (("Scan 4711-77",), {"PatientID": "4711-77"}, WITHHELD),
        (("Scan 19630317",), {"PatientBirthDate": "19630317"}, WITHHELD),
        (("Aera",), {"PatientName": "A^E"}, "Aera"),
    ],
)
def test_the_scanner_model_contains_no_name(models, patient, shown):
    """The first model without personal data, in plain characters; withheld if all have some."""
    assert scanner_model(routed(*models, **patient)) == shown


def test_an_event_is_received(untrained):
    """One datagram holds one attempt: its steps in order, until an error ended it."""
    channel = MetricChannel()
    recorder = MetricRecorder(channel, untrained)
    recorder.begin()
    recorder.step("headers")
    recorder.step("pixels")
    recorder.end("rejected", "NotLumbar")
    event = receive(socket.socket(fileno=os.dup(channel.receiver_fd)))
    assert (event.process, event.outcome, event.code) == (os.getpid(), "rejected", "NotLumbar")
    assert list(event.steps_s) == ["start", "headers"]
    assert event.seconds >= sum(event.steps_s.values())
    assert event.bundle == untrained.identity.name


def test_a_full_buffer_does_not_block():
    """Events that do not fit into the socket's buffer are dropped, and the child goes on."""
    channel = MetricChannel()
    for _ in range(2000):
        channel.send(MetricEvent(process=1, model="x" * 1000))


def test_an_invalid_event_is_dropped():
    """Invalid data do not end the supervisor."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    theirs.send(b"{")
    assert receive(ours) is None


def page(metrics: Metrics) -> dict[tuple[str, str], float]:
    """The samples by name and labels."""
    families = text_string_to_metric_families(metrics.page().decode())
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_every_known_reason_is_counted_from_zero():
    """Each series exists before its first study, so that `increase()` sees it."""
    metrics = Metrics(lambda: ())
    begun = {k: v for k, v in page(metrics).items() if k[0] in (STUDIES, RETRIES)}
    assert set(begun.values()) == {0}
    metrics.record(MetricEvent(process=1, outcome="rejected", code="BrokenStudy"))
    metrics.record(MetricEvent(process=1, outcome="failed", code="TimeLimit"))
    metrics.record(MetricEvent(process=1, outcome=RETRIED, code="DeviceBusy"))
    counted = {k: v for k, v in page(metrics).items() if k[0] in (STUDIES, RETRIES)}
    assert counted.keys() == begun.keys()
    assert {k for k in counted if counted[k]} == {
        (STUDIES, "BrokenStudy,rejected"),
        (STUDIES, "TimeLimit,failed"),
        (RETRIES, "DeviceBusy"),
    }


def test_the_reasons_counted_from_zero_are_errors():
    """Each code is the name of an error that ends an attempt in that way."""
    transient, rejected, dead_letters = (
        {error.__name__ for error in known}
        for known in (
            (ArchiveUnavailable, DeviceBusy),
            (
                *(NotLumbar, NoUsableSeries, BrokenStudy, SeveralPatients),
                *(IncompleteStudy, StudyGone),
            ),
            (TooManyAttempts, TimeLimit),
        )
    )
    codes = {
        outcome: {code for named, code in INITIAL_SERIES if named == outcome}
        for outcome in ("rejected", "failed")
    }
    assert set(TRANSIENT) == transient
    assert {named for named, code in INITIAL_SERIES if not code} == set(Outcome)
    assert codes == {"rejected": rejected, "failed": dead_letters | transient}


def test_scanner_models_are_bounded():
    """A limited number of models have labels of their own, the others share one."""
    metrics = Metrics(lambda: ())
    for number in range(MAX_MODELS + 20):
        found = [("c", "severe", 2)]
        metrics.record(MetricEvent(process=1, outcome="graded", model=f"m{number}", graded=found))
    counts = {k[1]: v for k, v in page(metrics).items() if k[0] == "lumbar_findings_total"}
    assert len(counts) == MAX_MODELS + 1
    assert counts[f"c,{OTHER},severe"] == 40


def test_gpu_memory_is_summed_over_running_children():
    """Two processes on one GPU add up; a dead one is not counted."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    metrics = Metrics(lambda: ())
    for process, held in ((os.getpid(), 3), (os.getppid(), 4), (gone.pid, 50)):
        metrics.record(MetricEvent(process=process, device="cuda:0", gpu_bytes=(held, 10 * held)))
    found = page(metrics)
    assert found["lumbar_gpu_memory_allocated_bytes", "cuda:0"] == 7
    assert found["lumbar_gpu_memory_peak_bytes", "cuda:0"] == 70
