"""A worker whose networks find little memory, or none: smaller batches, or another try later.

Memory runs out inside torch's convolutions. Python itself loads what makes it so, a
`sitecustomize`, because the product holds no hooks for tests.
"""

import os
from pathlib import Path

import pytest

from deploy.demo import arrival, stack
from dicom_sr import reader
from worker.approaches import load_bundle
from worker.archive.orthanc import OrthancArchive
from worker.phantom import SMALL, make_phantom, write_phantom
from worker.pipeline import grade

SEED = 46
ROOM = 2
INJECTION = '''
"""In each child, a convolution of more crops than a file says finds no memory."""

import os
from pathlib import Path

from celery.signals import worker_process_init


@worker_process_init.connect(weak=False)
def limit(**_):
    import torch

    room = Path(os.environ["TEST_ROOM"])
    convolve = torch.nn.Conv2d.forward

    def limited(self, crops):
        if len(crops) > int(room.read_text()):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: error code 12")
        return convolve(self, crops)

    torch.nn.Conv2d.forward = limited
'''


def set_room(file: Path, crops: int) -> None:
    """Say how many crops there is memory for, in one go."""
    file.with_suffix(".new").write_text(str(crops))
    file.with_suffix(".new").rename(file)


@pytest.mark.slow
def test_a_study_waits_for_memory_and_is_graded_with_little(redis_server, orthanc_server, tmp_path):
    """Without memory it is tried again; with room for two crops its grades are those of plenty."""
    room = tmp_path / "room"
    set_room(room, 0)
    (tmp_path / "injection").mkdir()
    (tmp_path / "injection" / "sitecustomize.py").write_text(INJECTION)
    paths = [str(tmp_path / "injection"), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {
        "PYTHONPATH": os.pathsep.join(paths),
        "TEST_ROOM": str(room),
        "LUMBAR_DEVICE": "cpu",
    }
    phantom = make_phantom(SEED, slices=SMALL)
    write_phantom(phantom, tmp_path / "phantom")
    with (
        stack.lumbar_worker(
            tmp_path, redis_server.url, orthanc_server, variables=variables
        ) as worker,
        orthanc_server.client() as client,
    ):
        arrival.send(client, sorted((tmp_path / "phantom").rglob("*.dcm")))
        study = arrival.orthanc_study(client, phantom.study_instance_uid)

        def put_off() -> list[dict]:
            events = arrival.log_events(worker, study)
            return [event for event in events if event["event"] == "retry scheduled"]

        worker.wait_until(put_off, 120)
        assert put_off()[0]["reason"] == "cpu: out of memory for a single crop"
        assert not arrival.reports(client, phantom.study_instance_uid)

        set_room(room, ROOM)
        verdict = arrival.wait_for_result(worker, study)
        assert verdict == arrival.GradingResult("done", "graded", None)
        assert f"cpu: out of memory, continuing with batches of {ROOM}" in worker.log_text()
        (stored,) = arrival.reports(client, phantom.study_instance_uid)

    server = orthanc_server
    with OrthancArchive.connect(server.url, server.username, server.password) as archive:
        plenty = grade(study, archive, load_bundle(device="cpu")).report
    scarce = reader.read(stored)
    assert [f.target for f in scarce.graded] == [f.target for f in plenty.graded]
    for ours, theirs in zip(scarce.graded, plenty.graded, strict=True):
        assert ours.probabilities.severe == pytest.approx(theirs.probabilities.severe, abs=1e-3)
