"""Reports are forwarded to the next archive; an unavailable one delays nothing else."""

import contextlib
import time
from uuid import uuid4

import httpx
import pytest
import redis
from structlog.testing import capture_logs

from deploy.demo import arrival, process, stack
from worker.archive.orthanc import OrthancArchive
from worker.errors import ArchiveUnavailable, BadSettings, BrokenStudy, StudyGone
from worker.phantom import SMALL, make_phantom, write_phantom
from worker.service.forwarding import Outbox
from worker.service.record_store import RecordStore, RedisMetadata
from worker.service.records import Kind, Record, now

NAME = "PACS"


@pytest.fixture(scope="module")
def held(orthanc_server, tmp_path_factory):
    """An archive with one study, of which one object stands for its report; and that archive."""
    phantom = make_phantom(31, slices=SMALL)
    folder = tmp_path_factory.mktemp("forwarding")
    write_phantom(phantom, folder)
    with orthanc_server.client() as client:
        arrival.send(client, sorted(folder.rglob("*.dcm"))[:1])
        study = arrival.orthanc_study(client, phantom.study_instance_uid)
        (tags,) = client.get(f"/studies/{study}/instances-tags?short").json().values()
    orthanc = orthanc_server
    with OrthancArchive.connect(orthanc.url, orthanc.username, orthanc.password) as archive:
        yield study, tags["0008,0018"], archive


@pytest.fixture(scope="module")
def destination(redis_server, orthanc_server, held, tmp_path_factory):
    """A second Orthanc, known to the first under this name, over DICOM and DICOMweb."""
    folder = tmp_path_factory.mktemp("destination")
    with (
        stack.orthanc_server(folder, redis_server.url, queue="unread") as server,
        orthanc_server.client() as client,
    ):
        points_to(client, server.dicom_port)
        rest = {
            "Url": f"{server.url}/dicom-web/",
            "Username": server.username,
            "Password": server.password,
        }
        client.put(f"/dicom-web/servers/{NAME}", json=rest).raise_for_status()
        yield server


@pytest.fixture
def queue():
    """A queue that no other test uses."""
    return f"q-{uuid4().hex}"


@pytest.fixture
def client(redis_server):
    return redis.Redis.from_url(redis_server.url)


@pytest.fixture
def box(client, queue):
    return Outbox(client, queue)


@pytest.fixture
def records(client, queue):
    """Records in Redis, for studies that no archive holds."""
    return RecordStore(RedisMetadata(client, queue), client, queue)


class Sender:
    """Replaces an Orthanc that forwards; `doing` is called meanwhile."""

    def __init__(self, doing=lambda _: None):
        self.doing = doing
        self.sent = []

    def forward(self, study, report, destination):
        self.sent.append((study, report))
        self.doing(study)


def waits(client, queue):
    """Scheduled reports: seconds until each is due, and failed attempts."""
    due = dict(client.zrange(f"{queue}:forward", 0, -1, withscores=True))
    tries = client.hgetall(f"{queue}:forward:retries")
    return {s.decode(): (at - client.time()[0], int(tries.get(s, 0))) for s, at in due.items()}


def arrived(server: stack.OrthancServer) -> list[str]:
    with server.client() as client:
        return client.get("/instances").json()


def graded(records: RecordStore, study: str, report: str) -> None:
    records.write(
        study, Record(kind=Kind.GRADED, sources="s", bundle="b", time=now(), report=report)
    )


@pytest.mark.parametrize("how", ["modality", "dicomweb"])
def test_a_report_arrives_once_and_its_record_says_so(held, destination, box, client, queue, how):
    """A scheduled report is forwarded, arrives, is noted in the record, and not sent again."""
    study, report, archive = held
    records = RecordStore(archive, client, queue)
    graded(records, study, report)
    box.add(study)
    box.add(study)
    assert box.size() == 1
    with destination.client() as there:
        for key in arrived(destination):
            there.delete(f"/instances/{key}")
    box.forward_due(archive, records, f"{how}:{NAME}")
    assert len(arrived(destination)) == 1
    assert records.read(study).forwarded == report
    assert box.size() == 0
    box.add(study, records.read(study))
    assert box.size() == 0


def test_an_unavailable_destination_is_retried(held, box, client, queue):
    """A refused connection postpones the report and counts the attempt; nothing is lost."""
    study, report, archive = held
    records = RecordStore(archive, client, queue)
    graded(records, study, report)
    archive._rest._client.put_modalities_id(
        "AWAY", json={"AET": "NOBODY", "Host": "127.0.0.1", "Port": 9}
    )
    box.add(study)
    box.forward_due(archive, records, "modality:AWAY")
    ((due_s, tries),) = waits(client, queue).values()
    assert due_s > 0
    assert tries == 1
    assert records.read(study).forwarded is None
    box.forward_due(archive, records, "modality:AWAY")  # not due yet
    assert waits(client, queue)[study][1] == 1


@pytest.mark.parametrize(
    "error", [ArchiveUnavailable("away"), BadSettings("no name"), BrokenStudy("HTTP 400")]
)
def test_every_error_postpones_longer_each_time(box, client, queue, records, error):
    """Attempts are not limited; the log names study and reason; others are not delayed."""

    def fail(study):
        if study == "bad":
            raise error

    sender = Sender(fail)
    for study in ("bad", "good"):
        graded(records, study, "1.2")
        box.add(study)
    waited = []
    for tries in range(1, 7):
        with capture_logs() as logged:
            box.forward_due(sender, records, "modality:PACS")
        (line,) = [line for line in logged if line["log_level"] == "warning"]
        assert (line["study"], line["reason"], line["attempts"]) == ("bad", str(error), tries)
        assert waits(client, queue).keys() == {"bad"}
        waited.append(waits(client, queue)["bad"][0])
        client.zadd(f"{queue}:forward", {"bad": 0}, xx=True)  # the wait is over
    assert waited[5] > 8 * waited[0] > 0
    assert records.read("good").forwarded == "1.2"


def test_a_report_is_scheduled_once(box, client, queue, records):
    """However often the reconciler finds it: it has one next attempt, and its count stays."""

    def away(study):
        raise ArchiveUnavailable

    graded(records, "s", "1.2")
    box.add("s")
    box.forward_due(Sender(away), records, "modality:PACS")
    before = waits(client, queue)
    box.add("s", records.read("s"))
    assert waits(client, queue).keys() == before.keys()
    assert waits(client, queue)["s"] == (pytest.approx(before["s"][0], abs=1.5), 1)
    box.add("s")  # a worker wrote another report
    assert waits(client, queue)["s"][0] < 0


def test_two_supervisors_forward_each_report_once(client, queue, records):
    """While one forwards the first of many, another forwards the rest and none twice."""
    studies = [f"s{number}" for number in range(6)]
    for study in studies:
        graded(records, study, "1.2")
        Outbox(client, queue).add(study)
    other = Sender()

    def look(study):
        if study == studies[2]:
            Outbox(client, queue).forward_due(other, records, "modality:PACS")

    first = Sender(look)
    Outbox(client, queue).forward_due(first, records, "modality:PACS")
    assert [study for study, _ in first.sent] == studies[:3]
    assert [study for study, _ in other.sent] == studies[3:]
    assert not waits(client, queue)
    assert {records.read(study).forwarded for study in studies} == {"1.2"}


def test_a_supervisor_that_dies_leaves_its_report_for_later(client, queue, records):
    """What was taken and never ended is sent when it could have been, and not before."""
    graded(records, "s", "1.2")
    box = Outbox(client, queue, archive_timeout_s=0.05)

    def die(study):
        raise KeyboardInterrupt

    box.add("s")
    with pytest.raises(KeyboardInterrupt):
        box.forward_due(Sender(die), records, "modality:PACS")
    ((due_s, tries),) = waits(client, queue).values()
    assert due_s < 2
    assert tries == 0
    client.zadd(f"{queue}:forward", {"s": 0})
    box.forward_due(sender := Sender(), records, "modality:PACS")
    assert sender.sent == [("s", "1.2")]


@pytest.mark.parametrize("noted", [True, False])
def test_a_report_that_was_written_meanwhile_is_kept_and_sent(box, client, queue, records, noted):
    """The worker's newer record stays, even if it did not yet note it; its report goes too."""

    def grade(study):
        graded(records, study, "1.3")
        if noted:
            box.add(study)

    graded(records, "s", "1.2")
    box.add("s")
    box.forward_due(Sender(grade), records, "modality:PACS")
    assert (records.read("s").report, records.read("s").forwarded) == ("1.3", None)
    assert waits(client, queue).keys() == {"s"}
    client.zadd(f"{queue}:forward", {"s": 0}, xx=True)
    box.forward_due(sender := Sender(), records, "modality:PACS")
    assert sender.sent == [("s", "1.3")]
    assert records.read("s").forwarded == "1.3"
    assert not waits(client, queue)


def test_a_record_without_a_report_of_ours_stays(box, client, queue, records):
    """Sent while the study was found to be no longer what was graded: nothing is written back."""

    def reject(study):
        records.write(study, rejected)

    rejected = Record(kind=Kind.REJECTED, sources="t", bundle="b", time=now())
    graded(records, "s", "1.2")
    box.add("s")
    box.forward_due(Sender(reject), records, "modality:PACS")
    assert records.read("s") == rejected
    assert not waits(client, queue)


def test_how_sending_fails(held):
    """Away is for later, an unknown name is for the administrator, a deleted report is over."""
    study, report, archive = held
    with pytest.raises(BadSettings, match="LUMBAR_FORWARD"):
        archive.forward(study, report, "modality:NOBODY")
    with pytest.raises(StudyGone):
        archive.forward(study, "1.2.3", f"modality:{NAME}")
    with pytest.raises((ArchiveUnavailable, BadSettings)):
        archive.forward(study, report, "dicomweb:NOBODY")


def points_to(client, port):
    """Tell an Orthanc at which port the modality listens."""
    where = {"AET": "ORTHANC", "Host": "127.0.0.1", "Port": port}
    client.put(f"/modalities/{NAME}", json=where).raise_for_status()


def waiting_forward(port):
    """What the worker's page of metrics says, None before it says anything."""
    with contextlib.suppress(httpx.TransportError):
        for line in httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines():
            if line.startswith("lumbar_reports_waiting_forward "):
                return float(line.split()[1])
    return None


@pytest.mark.slow
def test_a_worker_forwards_each_report_once(servers_installed, tmp_path):
    """While the destination is down, studies are graded; once it is there each report arrives."""
    port = process.free_port()
    variables = {
        "LUMBAR_FORWARD": f"modality:{NAME}",
        "LUMBAR_RECONCILE_S": "1",
        "LUMBAR_HEALTH_PORT": str(port),
    }
    with contextlib.ExitStack() as servers:
        server = servers.enter_context(stack.redis_server(tmp_path))
        here = servers.enter_context(stack.orthanc_server(tmp_path, server.url, stable_age_s=1))
        client = servers.enter_context(here.client())
        points_to(client, process.free_port())  # a closed port
        worker = servers.enter_context(
            stack.lumbar_worker(tmp_path, server.url, here, variables=variables)
        )
        studies = []
        for seed in (81, 82):
            phantom = make_phantom(seed, slices=SMALL)
            write_phantom(phantom, tmp_path / str(seed))
            arrival.send(client, sorted((tmp_path / str(seed)).rglob("*.dcm")))
            studies.append(arrival.orthanc_study(client, phantom.study_instance_uid))
            assert arrival.wait_for_result(worker, studies[-1]).outcome == "graded"
        worker.wait_until(lambda: waiting_forward(port) == 2)
        for study in studies:
            worker.wait_until(lambda study=study: logged(worker, study, "forwarding postponed"))
            assert not logged(worker, study, "report forwarded")

        there = servers.enter_context(
            stack.orthanc_server(tmp_path / "there", server.url, queue="unread")
        )
        points_to(client, there.dicom_port)
        waits_no_longer = redis.Redis.from_url(server.url)
        waits_no_longer.zadd("lumbar:forward", dict.fromkeys(studies, 0), xx=True)
        worker.wait_until(lambda: waiting_forward(port) == 0)
        time.sleep(3)  # several passes of the reconciler, which find nothing to forward
        assert len(arrived(there)) == 2
        with there.client() as other:
            series = other.get("/series?expand").raise_for_status().json()
        assert [one["MainDicomTags"]["Modality"] for one in series] == ["SR", "SR"]
        assert [len(logged(worker, study, "report forwarded")) for study in studies] == [1, 1]


def logged(worker, study, event):
    return [line for line in arrival.log_events(worker, study) if line["event"] == event]
