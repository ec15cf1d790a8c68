"""The plugin in a real Orthanc, with a real Redis."""

from __future__ import annotations

from io import BytesIO

import kombu
import pydicom
import redis
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from deploy.demo import stack

# Where the worker's kombu looks for priority 3, "new".
NEW = b"lumbar\x06\x163"


def a_study(orthanc: stack.OrthancServer) -> str:
    """Sends one small object of a new study; returns Orthanc's id of the study."""
    dataset = pydicom.Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.PatientID = "plugin"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(dataset, keyword, generate_uid())
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content = BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    with orthanc.client() as client:
        stored = client.post("/instances", content=content.getvalue()).raise_for_status().json()
    return stored["ParentStudy"]


def test_a_message_lies_where_the_worker_looks_for_new_studies(servers_installed, tmp_path):
    """Debian's kombu writes it with priority 3, and the worker's own kombu reads it."""
    with (
        stack.redis_server(tmp_path) as server,
        stack.orthanc_server(tmp_path, server.url, stable_age_s=1) as orthanc,
        redis.Redis.from_url(server.url) as queue,
        kombu.Connection(
            server.url, transport_options={"queue_order_strategy": "priority"}
        ) as connection,
    ):
        study = a_study(orthanc)
        orthanc.process.wait_until(lambda: queue.llen(NEW) == 1)
        waiting = connection.SimpleQueue("lumbar")
        message = waiting.get(timeout=5)
        assert message.payload[:2] == [[], {"study": study}]
        assert message.properties["priority"] == 3
        assert message.headers["task"] == "lumbar.grade_study"
        identity = f"study={study} message={message.headers['id']}"
        assert f"lumbar: sent {identity}" in orthanc.process.log_text()
        message.ack()
        waiting.close()
