"""A report goes on to the next archive; one that is away holds up nothing."""

import json

import arrival
import pytest
import redis
import stack

from worker.archive.orthanc import OrthancArchive
from worker.errors import ArchiveUnavailable, BadSettings, StudyGone
from worker.phantom import SMALL, make_phantom, write_phantom
from worker.service.onward import Outbox
from worker.service.records import Kind, Record, Records, now

NAME = "PACS"


@pytest.fixture(scope="module")
def held(orthanc_server, tmp_path_factory):
    """An archive with one study, of which one object stands for its report; and that archive."""
    phantom = make_phantom(31, slices=SMALL)
    folder = tmp_path_factory.mktemp("onward")
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
        where = {"AET": "ORTHANC", "Host": "127.0.0.1", "Port": server.dicom_port}
        client.put(f"/modalities/{NAME}", json=where).raise_for_status()
        rest = {
            "Url": f"{server.url}/dicom-web/",
            "Username": server.username,
            "Password": server.password,
        }
        client.put(f"/dicom-web/servers/{NAME}", json=rest).raise_for_status()
        yield server


@pytest.fixture
def outbox(redis_server):
    """An outbox of its own, and its Redis."""
    client = redis.Redis.from_url(redis_server.url)
    client.delete("onward-test:onward")
    return Outbox(client, "onward-test"), client


def arrived(server: stack.OrthancServer) -> list[str]:
    with server.client() as client:
        return client.get("/instances").json()


def graded(records: Records, study: str, report: str) -> None:
    records.write(
        study, Record(kind=Kind.GRADED, sources="s", bundle="b", time=now(), report=report)
    )


@pytest.mark.parametrize("how", ["modality", "dicomweb"])
def test_a_report_arrives_once_and_its_record_says_so(held, destination, outbox, how):
    """What was noted is sent, read as arrived, kept in the record, and not sent again."""
    study, report, archive = held
    box, client = outbox
    records = Records(archive, client, "onward-test")
    graded(records, study, report)
    box.add(study)
    box.add(study)
    assert box.waiting() == 1
    with destination.client() as there:
        for key in arrived(destination):
            there.delete(f"/instances/{key}")
    box.send_due(archive, records, f"{how}:{NAME}")
    assert len(arrived(destination)) == 1
    assert records.read(study).delivered == report
    assert box.waiting() == 0
    box.add(study, records.read(study))
    assert box.waiting() == 0


def test_a_destination_that_is_away_is_tried_again(held, outbox):
    """A refused connection puts the report off, with its tries counted; nothing is lost."""
    study, report, archive = held
    box, client = outbox
    records = Records(archive, client, "onward-test")
    graded(records, study, report)
    archive._client.put_modalities_id(
        "AWAY", json={"AET": "NOBODY", "Host": "127.0.0.1", "Port": 9}
    )
    box.add(study)
    box.send_due(archive, records, "modality:AWAY")
    ((entry, due),) = client.zrange("onward-test:onward", 0, -1, withscores=True)
    assert json.loads(entry) == [study, 1]
    assert due > 0
    assert records.read(study).delivered is None
    box.send_due(archive, records, "modality:AWAY")  # not due yet
    assert box.waiting() == 1


def test_how_sending_fails(held):
    """Away is for later, an unknown name is for the administrator, a deleted report is over."""
    study, report, archive = held
    with pytest.raises(BadSettings, match="LUMBAR_FORWARD"):
        archive.forward(study, report, "modality:NOBODY")
    with pytest.raises(StudyGone):
        archive.forward(study, "1.2.3", f"modality:{NAME}")
    with pytest.raises((ArchiveUnavailable, BadSettings)):
        archive.forward(study, report, "dicomweb:NOBODY")
