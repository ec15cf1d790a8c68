"""The worker runs an approach, a localiser and a grader of another package, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.demo import arrival, stack
from dicom_sr import reader
from tests.support import toy_package
from worker.phantom import SMALL, make_phantom, write_phantom


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(toy_package.COMBINATIONS))
def test_the_worker_grades_with_a_strategy_of_another_package(
    redis_server, orthanc_server, tmp_path: Path, kind: str
) -> None:
    """The stored report names the toy bundle; nothing but LUMBAR_BUNDLE was set."""
    variables = toy_package.install(tmp_path / "package") | {
        "LUMBAR_BUNDLE": str(toy_package.write_bundle(kind, tmp_path / "bundle")),
        "LUMBAR_DEVICE": "cpu",
    }
    phantom = make_phantom(130 + len(kind), slices=SMALL)
    write_phantom(phantom, tmp_path / "phantom")
    with (
        stack.lumbar_worker(
            tmp_path, redis_server.url, orthanc_server, variables=variables
        ) as worker,
        orthanc_server.client() as client,
    ):
        arrival.send(client, sorted((tmp_path / "phantom").rglob("*.dcm")))
        study = arrival.orthanc_study(client, phantom.study_instance_uid)
        result = arrival.wait_for_result(worker, study)
        assert result.event == "done", result
        (stored,) = arrival.reports(client, phantom.study_instance_uid)
    report = reader.read(stored)
    assert report.bundle.name == f"toy {kind}"
    assert report.graded
