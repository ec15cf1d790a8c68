"""The plugin's spool in a real Orthanc, with a real Redis that goes away."""

from __future__ import annotations

import json
import resource
import signal
import sqlite3
from contextlib import closing
from io import BytesIO
from pathlib import Path

import kombu
import pydicom
import redis
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from deploy.demo import stack

# Where the worker's kombu looks for priority 3, "new".
NEW = b"lumbar\x06\x163"


def spool_file(folder: Path) -> Path:
    """Where the plugin keeps it: beside Orthanc's database."""
    return folder / "orthanc" / "storage" / "lumbar-spool.db"


def on_disk(folder: Path) -> list[str]:
    """The studies that wait, as they lie on the disk."""
    with closing(sqlite3.connect(f"file:{spool_file(folder)}?mode=ro", uri=True)) as disk:
        return [study for (study,) in disk.execute("SELECT study FROM waiting ORDER BY place")]


def a_study(orthanc: stack.OrthancServer) -> str:
    """Sends one small object of a new study; returns Orthanc's id of the study."""
    dataset = pydicom.Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.PatientID = "spool"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(dataset, keyword, generate_uid())
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content = BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    with orthanc.client() as client:
        stored = client.post("/instances", content=content.getvalue()).raise_for_status().json()
    return stored["ParentStudy"]


def messages(queue: redis.Redis) -> list[dict]:
    """What waits in the queue, oldest first."""
    return [json.loads(message) for message in reversed(queue.lrange(NEW, 0, -1))]


def studies(queue: redis.Redis) -> list[str]:
    """Of whom these messages speak."""
    return [message["headers"]["kwargsrepr"].split("'")[3] for message in messages(queue)]


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
        assert f"lumbar: sent {identity}" in orthanc.process.said()
        message.ack()
        waiting.close()


def test_what_became_stable_without_redis_outlives_orthanc(servers_installed, tmp_path):
    """Redis away, three studies, Orthanc killed and started: three messages, in order, once."""
    with (
        stack.redis_server(tmp_path) as server,
        stack.orthanc_server(tmp_path, server.url, stable_age_s=1) as orthanc,
        redis.Redis.from_url(server.url) as queue,
    ):
        server.process.kill()
        sent = []
        for count in range(1, 4):
            sent.append(a_study(orthanc))
            orthanc.process.wait_until(lambda n=count: len(on_disk(tmp_path)) == n)
        orthanc.process.kill(signal.SIGKILL)
        orthanc.process.restart()
        assert on_disk(tmp_path) == sent
        server.process.restart()
        orthanc.process.wait_until(lambda: on_disk(tmp_path) == [])
        assert studies(queue) == sent
        # Nothing comes after: the next message is that of the next study.
        sent.append(a_study(orthanc))
        orthanc.process.wait_until(lambda: len(messages(queue)) > 3)
        assert studies(queue) == sent


def test_a_full_disk_costs_no_study(servers_installed, tmp_path):
    """Under a file-size limit Orthanc lives on, and what its disk does not take is sent."""
    # A file larger than any other of Orthanc's, in small pages that are full: it has to grow.
    spool_file(tmp_path).parent.mkdir(parents=True)
    with closing(sqlite3.connect(spool_file(tmp_path))) as disk:
        disk.execute("PRAGMA page_size = 512")
        disk.execute("CREATE TABLE filler (content BLOB)")
        disk.execute("INSERT INTO filler VALUES (zeroblob(16 << 20))")
        disk.commit()
    with (
        stack.redis_server(tmp_path) as server,
        stack.orthanc_server(tmp_path, server.url, stable_age_s=1) as orthanc,
        redis.Redis.from_url(server.url) as queue,
    ):
        server.process.kill()
        pid = orthanc.process.popen.pid
        unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        size = spool_file(tmp_path).stat().st_size
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, unlimited[1]))
        sent = {a_study(orthanc) for _ in range(12)}
        orthanc.process.wait_until(
            lambda: "lumbar-spool.db cannot be written" in orthanc.process.said()
        )
        server.process.restart()
        orthanc.process.wait_until(lambda: len(messages(queue)) >= 12)
        assert sorted(studies(queue)) == sorted(sent)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
        orthanc.process.wait_until(
            lambda: "lumbar-spool.db is written again" in orthanc.process.said()
        )
        assert on_disk(tmp_path) == []


def test_a_spool_that_is_none_does_not_keep_orthanc_from_starting(servers_installed, tmp_path):
    """It is put aside, and the next study is announced as if nothing were."""
    spool_file(tmp_path).parent.mkdir(parents=True)
    spool_file(tmp_path).write_bytes(b"no database " * 1000)
    with (
        stack.redis_server(tmp_path) as server,
        stack.orthanc_server(tmp_path, server.url, stable_age_s=1) as orthanc,
        redis.Redis.from_url(server.url) as queue,
    ):
        study = a_study(orthanc)
        orthanc.process.wait_until(lambda: queue.llen(NEW) == 1)
        assert studies(queue) == [study]
        assert spool_file(tmp_path).with_name("lumbar-spool.db.unreadable").exists()


def test_no_more_wait_than_may(servers_installed, tmp_path):
    """Past the bound the newest are refused, which one line of the log says."""
    with (
        stack.redis_server(tmp_path) as server,
        stack.orthanc_server(
            tmp_path, server.url, stable_age_s=1, variables={"LUMBAR_SPOOL_MOST": "2"}
        ) as orthanc,
        redis.Redis.from_url(server.url) as queue,
        orthanc.client() as client,
    ):
        server.process.kill()
        sent = [a_study(orthanc) for _ in range(4)]
        orthanc.process.wait_until(
            lambda: all(client.get(f"/studies/{study}").json()["IsStable"] for study in sent)
        )
        server.process.restart()
        orthanc.process.wait_until(lambda: "it had refused 2" in orthanc.process.said())
        assert orthanc.process.said().count("2 studies wait already") == 1
        assert len(messages(queue)) == 2
