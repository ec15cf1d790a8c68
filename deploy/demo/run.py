"""`make demo`: send a study to a real Orthanc and show the report that the worker stores.

Starts Redis, Orthanc with the plugin and a worker on free loopback ports, sends a phantom
(or STUDY=DIR, repaired), waits for the Structured Report, reads it back from Orthanc and shows
it. All processes end with the demo; KEEP=1 leaves them running until Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pydicom
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from deploy.demo import arrival, stack, viewer
from dicom_sr import reader
from dicom_sr.findings import Condition, Level, Report, Severity, Side, Target
from worker.archive.orthanc import OrthancArchive
from worker.domain.graded_study import GradedStudy
from worker.domain.volume import Volumes
from worker.errors import LumbarError
from worker.intake.loading import load
from worker.intake.repaired_copy import repair_folder
from worker.phantom import make_phantom, write_phantom
from worker.pipeline import route_study
from worker.report.links import viewer_link
from worker.report.report_files import ReportFiles, write_report
from worker.report.terminal_tables import grades_table

OUT = stack.ROOT / "demo-out"
SEED = 1
LESIONS = {
    Target(Condition.SPINAL_CANAL_STENOSIS, Level.L3_L4): Severity.SEVERE,
    Target(Condition.SUBARTICULAR_STENOSIS, Level.L4_L5, Side.LEFT): Severity.SEVERE,
    Target(Condition.NEURAL_FORAMINAL_NARROWING, Level.L5_S1, Side.RIGHT): Severity.SEVERE,
}


class NotGraded(Exception):
    """The worker did not grade the study; the message is its reason."""


@dataclass(frozen=True)
class Servers:
    """The three running processes."""

    redis: stack.RedisServer
    orthanc: stack.OrthancServer
    worker: stack.Process


def main() -> int:
    """Run the demo; the exit code is 0 if the report was stored."""
    options = _options()
    console = Console()
    # SIGTERM shuts down like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="lumbar-demo-") as name:
        folder = Path(name)
        try:
            demonstrate(options.study, folder, console, keep=options.keep)
        except (LumbarError, stack.StackError, NotGraded) as error:
            console.print(f"Demo failed: {error}", style="red", markup=False, soft_wrap=True)
            if _keep_logs(folder):
                console.print(f"Logs: {OUT / 'logs'}", markup=False, soft_wrap=True)
            return 2 if isinstance(error, LumbarError) else 1
        except KeyboardInterrupt:
            console.print("Interrupted; all processes were stopped.")
            return 130
    return 0


def demonstrate(study: Path | None, folder: Path, console: Console, *, keep: bool) -> None:
    """Run one study through the whole stack and report progress on the console."""
    with console.status("creating a phantom" if study is None else "repairing the study"):
        files, study_uid = prepare(study, folder / "study")
    with ExitStack() as running:
        with console.status("starting Redis, Orthanc and the worker"):
            servers = start(folder, running)
        console.print(
            f"Running: Orthanc {servers.orthanc.url}, DICOM port {servers.orthanc.dicom_port}, "
            f"Redis {servers.redis.url}",
            soft_wrap=True,
        )
        started = time.monotonic()
        orthanc_id = send_study(files, study_uid, servers, console)
        with console.status("the study becomes stable") as status:
            result = arrival.wait_for_result(
                servers.worker, orthanc_id, on_step=lambda step: status.update(f"worker: {step}")
            )
        if result.event != "done":
            raise NotGraded(result.reason)
        console.print(
            f"Report stored {time.monotonic() - started:.1f} s after the start of the transfer"
        )
        with console.status("reading the report from Orthanc"):
            report, written = read_back(servers, orthanc_id, study_uid)
        console.print(grades_table(report))
        for label, path in (
            ("page", written.page),
            ("document", written.document),
            ("SR", written.structured_report),
            ("images", written.slices),
        ):
            console.print(f"{label:10}{path}", soft_wrap=True, highlight=False, markup=False)
        if keep:
            stay(servers, report.study_instance_uid, console)


def prepare(study: Path | None, folder: Path) -> tuple[list[Path], str]:
    """The files to send and their Study Instance UID: of a phantom or of a repaired copy."""
    if study is None:
        write_phantom(make_phantom(SEED, LESIONS), folder)
    else:
        repair_folder(study, folder)
    files = sorted(folder.rglob("*.dcm"))
    uids = {
        str(pydicom.dcmread(file, specific_tags=["StudyInstanceUID"]).get("StudyInstanceUID"))
        for file in files
    }
    if len(uids) != 1:
        raise stack.StackError(
            f"{study} contains {len(uids)} studies; give the folder of one study"
        )
    return files, uids.pop()


def start(folder: Path, running: ExitStack) -> Servers:
    """Start all three processes; `running` stops them."""
    redis = running.enter_context(stack.redis_server(folder))
    orthanc = running.enter_context(
        stack.orthanc_server(folder, redis.url, viewer=viewer.installed())
    )
    worker = running.enter_context(stack.lumbar_worker(folder, redis.url, orthanc))
    return Servers(redis, orthanc, worker)


def send_study(files: Sequence[Path], study_uid: str, servers: Servers, console: Console) -> str:
    """Send over DICOMweb with a progress bar; return the Orthanc ID of the study."""
    columns = (TextColumn("sending over DICOMweb"), BarColumn(), MofNCompleteColumn())
    with (
        Progress(*columns, console=console, transient=True) as progress,
        servers.orthanc.client() as client,
    ):
        bar = progress.add_task("", total=len(files))
        arrival.send(client, files, lambda done: progress.update(bar, completed=done))
        console.print(f"Sent {len(files)} images over DICOMweb")
        return arrival.orthanc_study(client, study_uid)


def read_back(servers: Servers, orthanc_id: str, study_uid: str) -> tuple[Report, ReportFiles]:
    """Read the SR from Orthanc, and write it to demo-out with its page and images.

    The study is not graded again: the page shows the SR's findings on the images in Orthanc.
    """
    orthanc = servers.orthanc
    with orthanc.client() as client:
        documents = arrival.reports(client, study_uid)
    if len(documents) != 1:
        raise stack.StackError(
            f"expected one report of the study in Orthanc, found {len(documents)}"
        )
    report = reader.read(documents[0])
    with OrthancArchive.connect(orthanc.url, orthanc.username, orthanc.password) as archive:
        routed = route_study(orthanc_id, archive)
        volumes = Volumes() if routed.exclusions else load(routed, archive.fetch)
    repairs = (*routed.study.repairs, *volumes.repairs)
    timings = step_times_ms(arrival.log_events(servers.worker, orthanc_id))
    graded = GradedStudy(report, routed, volumes, repairs, timings)
    return report, write_report(graded, documents[0], OUT, f"{orthanc.url}/ohif")


def step_times_ms(events: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """The duration of each step, from the timestamps in the worker's log."""
    times: dict[str, float] = {}
    for event, following in pairwise(events):
        if event["event"] == "step" and event["step"] not in times:
            start, end = (datetime.fromisoformat(e["timestamp"]) for e in (event, following))
            times[event["step"]] = (end - start).total_seconds() * 1000
    return times


def stay(servers: Servers, study_instance_uid: str, console: Console) -> None:
    """Keep all processes running until Ctrl-C."""
    orthanc = servers.orthanc
    console.print(
        f"\nStill running; press Ctrl-C to stop.\n"
        f"  Viewer    {viewer_link(f'{orthanc.url}/ohif', study_instance_uid)}\n"
        f"  Orthanc   {orthanc.url}  (user {orthanc.username}, password {orthanc.password})\n"
        f"  DICOMweb  {orthanc.url}/dicom-web\n"
        f"  C-STORE   ORTHANC@{stack.LOOPBACK}:{orthanc.dicom_port}\n"
        f"  Log       {servers.worker.log}",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    try:
        while True:
            for process in (servers.redis.process, orthanc.process, servers.worker):
                process.check()
            time.sleep(1)
    except KeyboardInterrupt:
        console.print("Stopping")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    study = os.environ.get("STUDY") or None
    parser.add_argument(
        "--study", type=Path, default=study and Path(study), help="folder of a study to send"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        default=os.environ.get("KEEP", "") not in ("", "0"),
        help="keep all processes running until Ctrl-C",
    )
    return parser.parse_args()


def _keep_logs(folder: Path) -> bool:
    """Copy the servers' logs from the temporary folder; return whether there were any."""
    logs = list(folder.glob("*/*.log"))
    for log in logs:
        (OUT / "logs").mkdir(parents=True, exist_ok=True)
        shutil.copy(log, OUT / "logs")
    return bool(logs)


if __name__ == "__main__":
    sys.exit(main())
