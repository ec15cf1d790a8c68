"""`lumbar serve` with a DICOMweb server that announces no study: reconciliation finds them."""

import time

import pytest
import redis

from deploy.demo import arrival, stack
from dicom_sr import reader
from worker.phantom import SMALL, make_phantom, write_phantom


@pytest.mark.slow
def test_a_study_on_a_dicomweb_server_is_graded_once(redis_server, tmp_path):
    """Without a message the study is found and graded once; its record is deleted with it."""
    phantom = make_phantom(7, slices=SMALL)
    write_phantom(phantom, tmp_path / "phantom")
    uid = phantom.study_instance_uid
    # The plugin's messages name Orthanc's ids: they go to a queue that nobody reads.
    with stack.orthanc_server(tmp_path, redis_server.url, queue="unread") as orthanc:
        variables = {
            "LUMBAR_ARCHIVE": "dicomweb",
            "LUMBAR_DICOMWEB_URL": f"{orthanc.url}/dicom-web",
            "LUMBAR_DICOMWEB_USERNAME": orthanc.username,
            "LUMBAR_DICOMWEB_PASSWORD": orthanc.password,
            "LUMBAR_QUEUE": "lumbar-dicomweb",
            "LUMBAR_RECONCILE_S": "1",
        }
        with orthanc.client() as client:
            arrival.send(client, sorted((tmp_path / "phantom").rglob("*.dcm")))
        with (
            orthanc.client() as client,
            stack.lumbar_worker(tmp_path, redis_server.url, orthanc, variables=variables) as worker,
        ):
            verdict = arrival.wait_for_result(worker, uid)
            assert (verdict.event, verdict.outcome) == ("done", "graded")
            time.sleep(4)  # several passes of the reconciler, which see the report
            events = [event["event"] for event in arrival.log_events(worker, uid)]
            (stored,) = arrival.reports(client, uid)
            records = redis.Redis.from_url(redis_server.url)
            assert records.hkeys("lumbar-dicomweb:records") == [uid.encode()]
            client.delete(f"/studies/{arrival.orthanc_study(client, uid)}").raise_for_status()
            worker.wait_until(lambda: not records.hkeys("lumbar-dicomweb:records"))
    assert len(reader.read(stored).findings) == 25
    assert (events.count("reconciled"), events.count("done")) == (1, 1)
