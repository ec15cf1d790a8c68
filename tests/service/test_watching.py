"""Health, metrics and logs of a real worker whose studies end in every way.

Every study's headers hold a patient's name, id and birth date wherever a text may stand; the
last test looks for them in all that the service wrote in the whole run.
"""

import base64
import hashlib
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pydicom
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families
from pydicom.uid import CTImageStorage, generate_uid

from deploy.demo import arrival, process, stack
from dicom_sr.findings import Severity
from tests.support.messages import MALFORMED
from worker import __version__
from worker.domain.study import Role
from worker.phantom import SMALL, make_phantom, write_phantom
from worker.service.broker import make_app
from worker.service.jobs import GradeJob, Priority
from worker.service.queue import Queue
from worker.service.redis_keys import RedisKeys
from worker.settings import Settings

SURNAME, GIVEN, PATIENT_ID, BORN = "ZWOELFENDER", "OTTOKAR", "GEHEIM-4711-X", "19630317"
MODEL = "Testscan 1.5T"

STALLED_S = 10
ODD = (
    *("SeriesDescription", "ProtocolName", "StudyDescription", "StationName", "AccessionNumber"),
    *("InstitutionName", "ImageComments", "PatientComments", "OperatorsName", "StudyID"),
    *("Manufacturer", "SoftwareVersions", "DeviceSerialNumber", "ReferringPhysicianName"),
    *("RequestedProcedureDescription", "PerformedProcedureStepDescription"),
)

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Watched:
    """A running worker, the servers beside it, and the studies that it was sent."""

    folder: Path
    redis: stack.RedisServer
    orthanc: stack.OrthancServer
    client: httpx.Client
    worker: stack.Process
    port: int
    studies: dict[str, str]

    def get(self, path: str) -> httpx.Response:
        # Shorter than the timeout of Redis: the endpoints must not wait for it.
        return httpx.get(f"http://{process.LOOPBACK}:{self.port}{path}", timeout=4)

    def wait_ready(self, ready: bool, because: str = "", timeout_s: float = 90) -> None:
        """Wait until /ready has this state and names the reason."""

        def has_state() -> bool:
            answer = self.get("/ready")
            body = answer.json()
            assert (answer.status_code == 200) is body["ready"] is (not body["reasons"])
            return body["ready"] is ready and because in " ".join(body["reasons"])

        self.worker.wait_until(has_state, timeout_s)

    def value(self, name: str, **labels: str) -> float | None:
        """The sum of a metric's samples that have these labels, None where there is none."""
        found = [
            sample.value
            for family in text_string_to_metric_families(self.get("/metrics").text)
            for sample in family.samples
            if sample.name == f"lumbar_{name}" and labels.items() <= sample.labels.items()
        ]
        return sum(found) if found else None

    def idle(self) -> bool:
        """Whether the queue is empty and no study is graded."""
        return self.value("queue_messages") == 0 and self.value("studies_running") == 0

    def queue(self) -> Queue:
        settings = Settings(redis_url=self.redis.url)
        return Queue(make_app(settings), redis.Redis.from_url(self.redis.url), settings.queue)

    def children(self, *, supervisor: bool) -> list[int]:
        """The processes that the worker started: its supervisor, or those that grade."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if parent == self.worker.popen.pid and (b"\0supervise\0" in command) is supervisor:
                found.append(int(folder.name))
        return found

    @contextmanager
    def stopped(self, *pids: int) -> Iterator[None]:
        """Suspend processes with SIGSTOP during the body."""
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


def hostile(file: Path, change: Callable[[pydicom.Dataset], None], uids: dict[str, str]) -> None:
    """Write patient data into many attributes of a file, and give it new UIDs."""
    image = pydicom.dcmread(file)
    t1 = "T1" in image.SeriesDescription
    for keyword in ODD:
        before = str(image.get(keyword) or "") if "Description" in keyword else ""
        setattr(image, keyword, f"{before} {SURNAME} {PATIENT_ID}".strip())
    image.PatientName, image.PatientID = f"{SURNAME}^{GIVEN}", PATIENT_ID
    image.PatientBirthDate, image.OtherPatientNames = BORN, f"{GIVEN}^{SURNAME}"
    image.AccessionNumber, image.StudyID, image.StationName = PATIENT_ID, BORN, GIVEN
    image.ManufacturerModelName = f"{GIVEN} {BORN}" if t1 else MODEL
    image.ImageType = ["ORIGINAL", "PRIMARY", "OTHER", SURNAME]
    image.private_block(0x0099, SURNAME, create=True).add_new(1, "LO", f"{GIVEN} {PATIENT_ID}")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        old = str(image[keyword].value)
        setattr(image, keyword, uids.setdefault(old, generate_uid()))
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    change(image)
    image.save_as(file)


def as_ct(image: pydicom.Dataset) -> None:
    image.Modality = "CT" if image.InstanceNumber % 2 else GIVEN
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = CTImageStorage
    image.SeriesInstanceUID = f"{image.SeriesInstanceUID[:60]}.{image.InstanceNumber % 2}"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, servers_installed: None) -> Iterator[Watched]:
    """A worker after a study of each kind; the one that failed had killed it three times."""
    folder = tmp_path_factory.mktemp("watching")
    phantom = make_phantom(42, slices=SMALL)
    late = phantom.of(Role.AXIAL_T2).series_instance_uid
    (folder / "tmp").mkdir()
    port = process.free_port()
    variables = {
        "LUMBAR_HEALTH_PORT": str(port),
        "LUMBAR_STALLED_S": str(STALLED_S),
        "LUMBAR_INCOMPLETE": "wait",
        "LUMBAR_LOG_LEVEL": "debug",  # the last test reads all of it
        "LUMBAR_ORTHANC_TIMEOUT_S": "3",
        "TMPDIR": str(folder / "tmp"),
    }
    kinds: dict[str, tuple[Callable[[pydicom.Dataset], None], Callable[[Path], bool]]] = {
        "waiting": (lambda _: None, lambda file: file.parent.name != late),
        "rejected": (as_ct, lambda file: file.parent.name == late),
        "failed": (lambda _: None, lambda file: file.parent.name == late),
        "graded": (lambda _: None, lambda _: True),
    }
    with ExitStack() as servers:
        server = servers.enter_context(stack.redis_server(folder))
        orthanc = servers.enter_context(stack.orthanc_server(folder, server.url, stable_age_s=1))
        client = servers.enter_context(orthanc.client())
        worker = servers.enter_context(
            stack.lumbar_worker(folder, server.url, orthanc, variables=variables)
        )
        studies = {}
        watched = Watched(folder, server, orthanc, client, worker, port, studies)
        for kind, (change, wanted) in kinds.items():
            write_phantom(phantom, folder / "sent" / kind)
            files = sorted((folder / "sent" / kind).rglob("*.dcm"))
            files = [file for file in files if wanted(file)]
            uids: dict[str, str] = {}
            for file in files:
                hostile(file, change, uids)
            study = pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID
            studies[kind] = orthanc_id(PATIENT_ID, study)
            if kind == "failed":
                redis.Redis.from_url(server.url).set(f"lumbar:attempts:{studies[kind]}", 3)
            arrival.send(client, files)
        worker.wait_until(lambda: watched.value("studies_running") == 1)
        for study in studies.values():
            if study != studies["waiting"]:
                arrival.wait_for_result(worker, study)
        yield watched


def orthanc_id(*names: str) -> str:
    """Orthanc's id: SHA-1 of the ids from the patient down, in five groups."""
    digest = hashlib.sha1("|".join(names).encode()).hexdigest()
    return "-".join(digest[i : i + 8] for i in range(0, 40, 8))


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        ("graded", ""),
        ("waiting", ""),
        ("rejected", "NotLumbar"),
        ("failed", "TooManyAttempts"),
    ],
)
def test_every_outcome_is_counted(watched, outcome, code):
    """Studies are counted by outcome and reason, and timed."""
    watched.worker.wait_until(lambda: watched.value("studies_total", outcome=outcome, code=code))
    assert watched.value("study_seconds_count", outcome=outcome) >= 1


def test_the_steps_of_a_study_are_timed(watched):
    """Each step from the headers to the report that is read back."""
    for step in ("start", "headers", "route", "pixels", "localise", "grade", "store", "read back"):
        assert watched.value("step_seconds_count", step=step) >= 1, step
        assert watched.value("step_seconds_sum", step=step) > 0
    whole = watched.value("study_seconds_sum", outcome="graded")
    assert whole >= watched.value("step_seconds_sum", step="grade")


def test_findings_are_counted_by_scanner(watched):
    """25 targets, by condition with severity or reason; a model with personal data is withheld."""
    graded = watched.value("findings_total", model=MODEL)
    not_assessed = watched.value("not_assessed_total", model=MODEL) or 0
    assert graded + not_assessed == watched.value("findings_total") + not_assessed == 25
    severities = [watched.value("findings_total", severity=s.value) for s in Severity]
    assert sum(count or 0 for count in severities) == graded
    assert watched.value("findings_total", condition="spinal_canal_stenosis") <= 5


def test_gauges_of_queue_and_build(watched):
    """Depth by priority, dead letters, last success and versions; no GPU memory here."""
    watched.wait_ready(True)
    # What the archive announced after the last report is still looked at, and found done.
    watched.worker.wait_until(watched.idle)
    for priority in Priority:
        assert watched.value("queue_messages", priority=priority.name.lower()) == 0
    assert watched.value("queue_oldest_age_seconds") == 0
    assert watched.value("dead_letters") == 1
    assert 0 <= watched.value("last_success_age_seconds") < 600
    assert watched.value("build_info", software=__version__) == 1
    assert watched.value("build_info", bundle="") is None
    assert (watched.value("redis_up"), watched.value("archive_up")) == (1, 1)
    assert watched.value("gpu_memory_allocated_bytes") is None


def test_a_study_that_waits_for_a_retry_is_counted(watched):
    """The gauge counts studies that are neither queued nor running."""
    job = GradeJob(watched.studies["rejected"], retries=1)
    watched.queue().schedule(job, 3600)
    watched.worker.wait_until(lambda: watched.value("studies_waiting_retry") == 1)


def test_a_queue_that_is_not_draining_makes_it_not_ready(watched):
    """A child that hangs is noticed; when it continues, the worker is ready again."""
    watched.wait_ready(True)
    with watched.stopped(*watched.children(supervisor=False)):
        succeeded_s = watched.value("last_success_age_seconds")
        for priority in (*Priority, Priority.URGENT):  # the first of them is taken
            watched.queue().send(GradeJob(watched.studies["graded"], priority=priority))
        watched.wait_ready(False, "queue is not draining")
        for priority in Priority:
            assert watched.value("queue_messages", priority=priority.name.lower()) == 1
        assert watched.value("queue_oldest_age_seconds") > 0
        assert watched.value("last_success_age_seconds") > succeeded_s
        assert watched.value("ready") == 0
        assert watched.get("/live").json() == {"live": True, "reasons": []}
    watched.wait_ready(True)


def test_without_redis_it_is_live_but_not_ready(watched):
    """A Redis that accepts connections and never responds does not delay the endpoints."""
    with watched.stopped(watched.redis.process.popen.pid):
        watched.wait_ready(False, "Redis")
        assert watched.get("/live").status_code == 200
        assert watched.value("redis_up") == 0
        assert watched.value("queue_messages") is None
        assert watched.value("studies_total", outcome="graded") >= 1
    watched.wait_ready(True)


def test_without_the_archive_it_is_not_ready_and_retries(watched):
    """An archive that hangs is named; a study that needed it is counted as retried."""
    with watched.stopped(watched.orthanc.process.popen.pid):
        watched.queue().send(GradeJob(watched.studies["graded"]))
        watched.wait_ready(False, "Orthanc at http")
        assert watched.get("/live").status_code == 200
        assert watched.value("archive_up") == 0
        watched.worker.wait_until(
            lambda: watched.value("retries_total", code="ArchiveUnavailable"), 120
        )
    watched.wait_ready(True)


def test_another_supervisor_takes_over(watched):
    """If it is killed, another starts and receives the events of the children."""
    (old,) = watched.children(supervisor=True)
    os.kill(old, signal.SIGKILL)
    watched.queue().send(GradeJob(watched.studies["graded"]))

    def received() -> bool:
        try:
            return bool(watched.value("studies_total", outcome="already_graded"))
        except httpx.TransportError:
            return False

    watched.worker.wait_until(received, 120)
    assert watched.get("/nothing").status_code == 404


def test_a_port_in_use_is_logged_once(watched, tmp_path):
    """The supervisor goes on without health, and one line names what to change."""
    variables = {
        "LUMBAR_REDIS_URL": watched.redis.url,
        "LUMBAR_QUEUE": "lumbar-other",
        "LUMBAR_HEALTH_PORT": str(watched.port),
    }
    command = [sys.executable, "-m", "worker.cli", "supervise"]
    with process.running(
        "supervisor", command, tmp_path / "log", os.environ | variables
    ) as supervisor:
        supervisor.wait_until(lambda: "LUMBAR_HEALTH_PORT" in supervisor.log.read_text())
        time.sleep(2)
        supervisor.check()
        errors = [line for line in supervisor.log.read_text().splitlines() if '"error"' in line]
    assert len([line for line in errors if json.loads(line)["level"] == "error"]) == 1


def test_clients_without_http_are_ignored(watched):
    """Invalid requests and closed connections cause no traceback."""
    for data in (b"", b"\x16\x03\x01 hello\r\n\r\n"):
        with socket.create_connection((process.LOOPBACK, watched.port)) as client:
            client.sendall(data)
    assert watched.get("/live").status_code == 200
    assert "Traceback" not in watched.worker.log.read_text()


def test_malformed_messages_do_not_stop_it(watched):
    """They are dropped with a line each, none is delivered again, and the next study is graded."""
    children = watched.children(supervisor=False)
    done = watched.value("studies_total", outcome="already_graded")
    with redis.Redis.from_url(watched.redis.url) as client:
        client.rpush(RedisKeys(Settings().queue).messages(Priority.NEW), *MALFORMED)
    watched.queue().send(GradeJob(watched.studies["graded"], priority=Priority.BACKLOG))
    watched.worker.wait_until(
        lambda: watched.value("studies_total", outcome="already_graded") == done + 1
    )
    assert watched.value("queue_messages") == 0
    assert watched.children(supervisor=False) == children
    dropped = watched.worker.log.read_text().count("malformed message dropped")
    assert dropped == len(MALFORMED)


def test_a_study_can_be_followed_in_the_log(watched):
    """Every log line about it names its message, also the supervisor's; a message has one study."""
    lines = arrival.log_events(watched.worker, watched.studies["graded"])
    assert {"step", "done", "retry scheduled", "retry"} <= {line["event"] for line in lines}
    assert all(line["message"] for line in lines)
    again = {line["message"] for line in lines if line["event"] == "retry"}
    assert again <= {line["message"] for line in lines if line["event"] == "done"}


def test_no_patient_data_are_written(watched):
    """No name, id or date of birth in logs, metrics, health, Redis, records and file names."""
    with watched.stopped(*watched.children(supervisor=False)):
        for _ in range(2):
            watched.queue().send(GradeJob(watched.studies["graded"]))
        written = everything(watched)
    assert "TooManyAttempts" in written["record failed"]
    assert "graded" in written["record graded"]
    assert watched.studies["graded"] in written["redis.log"] + written["Redis' file"]
    assert "no MR images, only CT" in written["worker.log"]
    for place, text in written.items():
        for secret in (SURNAME, GIVEN, PATIENT_ID, BORN):
            assert secret.casefold() not in text.casefold(), (place, secret)


def everything(watched: Watched) -> dict[str, str]:
    """All that the service wrote, except the archive's files, as text by place."""
    written = {log.name: log.read_text(errors="replace") for log in watched.folder.rglob("*.log")}
    written |= {path: watched.get(path).text for path in ("/metrics", "/ready", "/live")}
    for kind, study in watched.studies.items():
        written[f"record {kind}"] = watched.client.get(f"/studies/{study}/metadata/4931").text
    home = watched.folder
    files = [path for path in home.rglob("*") if "sent" not in path.relative_to(home).parts]
    written["file names"] = "\n".join(str(path.relative_to(home)) for path in files)
    kept = b"".join(path.read_bytes() for path in (home / "redis").rglob("*.aof"))
    written["Redis' file"] = plain(kept)
    client = redis.Redis.from_url(watched.redis.url)
    for key in client.scan_iter():
        content = {
            b"string": lambda key: client.get(key),
            b"list": lambda key: client.lrange(key, 0, -1),
            b"hash": lambda key: client.hgetall(key),
            b"set": lambda key: client.smembers(key),
            b"zset": lambda key: client.zrange(key, 0, -1),
        }[client.type(key)](key)
        written[f"Redis {key!r}"] = repr(key) + plain(repr(content).encode())
    assert any("unacked" in place for place in written), "no message is unacknowledged"
    return written


def plain(content: bytes) -> str:
    """Bytes as text, with base64 decoded, since kombu encodes bodies."""
    bodies = [b[: len(b) // 4 * 4] for b in re.findall(rb"[A-Za-z0-9+/]{24,}={0,2}", content)]
    decoded = [base64.b64decode(body) for body in bodies]
    return b"\n".join([content, *decoded]).decode(errors="replace")
