"""Sends a study to Orthanc over DICOMweb and waits for its report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pydicom

from deploy.demo.stack import Process, StackError

_BOUNDARY = "lumbar-demo"
_MULTIPART = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
_FAILED_SOP_SEQUENCE = "00081198"


@dataclass(frozen=True)
class GradingResult:
    """The last log event of the worker about a study."""

    event: str
    outcome: str | None
    reason: str | None


def send(
    client: httpx.Client, files: Sequence[Path], progress: Callable[[int], None] = lambda _: None
) -> None:
    """Store files one by one over STOW-RS (DICOM PS3.18 10.5), in any transfer syntax.

    `progress` is called with the number of files sent. Raises StackError if Orthanc refuses one.
    """
    for count, path in enumerate(files, 1):
        head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        response = client.post(
            "/dicom-web/studies",
            content=head + path.read_bytes() + f"\r\n--{_BOUNDARY}--\r\n".encode(),
            headers={
                "Content-Type": _MULTIPART,
                "Accept": "application/dicom+json",
            },
        )
        if not response.is_success or response.json().get(_FAILED_SOP_SEQUENCE, {}).get("Value"):
            raise StackError(
                f"Orthanc refused file {count} of {len(files)} (HTTP {response.status_code}); "
                "`lumbar repair` may fix the study"
            )
        progress(count)


def orthanc_study(client: httpx.Client, study_instance_uid: str) -> str:
    """Orthanc's id of a study."""
    matches = client.post("/tools/lookup", content=study_instance_uid).raise_for_status().json()
    return next(match["ID"] for match in matches if match["Type"] == "Study")


def reports(client: httpx.Client, study_instance_uid: str) -> list[pydicom.Dataset]:
    """Every SR of a study in Orthanc."""
    query = {"StudyInstanceUID": study_instance_uid, "Modality": "SR"}
    found = client.post("/tools/find", json={"Level": "Instance", "Query": query})
    files = [client.get(f"/instances/{key}/file") for key in found.raise_for_status().json()]
    return [pydicom.dcmread(BytesIO(file.raise_for_status().content)) for file in files]


def log_events(worker: Process, study: str) -> list[dict[str, Any]]:
    """The worker's log events about a study (its Orthanc id), oldest first."""
    events = []
    for line in worker.log.read_text(errors="replace").splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue  # a line that is being written
        if isinstance(event, dict) and event.get("study") == study:
            events.append(event)
    return events


def wait_for_result(
    worker: Process,
    study: str,
    *,
    after: int = 0,
    timeout_s: float = 300.0,
    on_step: Callable[[str], None] = lambda _: None,
) -> GradingResult:
    """Wait for the result of a study that follows `after` earlier ones."""
    deadline = time.monotonic() + timeout_s
    while True:
        events = log_events(worker, study)
        results = [e for e in events if e["event"] in ("done", "not graded")]
        if len(results) > after:
            last = results[after]
            return GradingResult(last["event"], last.get("outcome"), last.get("reason"))
        if events:
            on_step(str(events[-1].get("step") or events[-1].get("reason") or ""))
        worker.check()
        if time.monotonic() > deadline:
            raise StackError(f"no report after {timeout_s:.0f} s.\n{worker.tail()}")
        time.sleep(0.2)
