"""The whole loop with real servers: a study arrives, its report comes back, once."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pydicom
import pytest

from deploy.demo import arrival, stack
from dicom_sr import reader, uids
from dicom_sr.findings import ImageReference, NotAssessedReason
from dicom_sr.revisions import current_report, predecessors
from worker import PIPELINE_VERSION
from worker.approaches import load_bundle
from worker.archive.orthanc import OrthancArchive
from worker.domain.study import Role
from worker.phantom import SMALL, Phantom, make_phantom, write_phantom
from worker.pipeline import grade

SEED = 42


@dataclass(frozen=True)
class Loop:
    """A phantom that was sent to running servers and graded."""

    phantom: Phantom
    files: list[Path]
    orthanc: stack.OrthancServer
    client: httpx.Client
    worker: stack.Process
    study: str
    verdict: arrival.GradingResult

    def reports(self) -> list[pydicom.Dataset]:
        return arrival.reports(self.client, self.phantom.study_instance_uid)

    def verdicts(self) -> int:
        events = arrival.log_events(self.worker, self.study)
        return sum(event["event"] in ("done", "not graded") for event in events)


@pytest.fixture(scope="module")
def loop(
    redis_server: stack.RedisServer,
    orthanc_server: stack.OrthancServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Loop]:
    """A small phantom after its way from DICOMweb through plugin, queue and worker."""
    folder = tmp_path_factory.mktemp("loop")
    phantom = make_phantom(SEED, slices=SMALL)
    write_phantom(phantom, folder / "phantom")
    files = sorted((folder / "phantom").rglob("*.dcm"))
    with (
        stack.lumbar_worker(folder, redis_server.url, orthanc_server) as worker,
        orthanc_server.client() as client,
    ):
        arrival.send(client, files)
        study = arrival.orthanc_study(client, phantom.study_instance_uid)
        verdict = arrival.wait_for_result(worker, study)
        yield Loop(phantom, files, orthanc_server, client, worker, study, verdict)


def test_one_report_comes_back_and_says_what_the_pipeline_says(loop):
    """Exactly one SR is in the archive; read back it equals the report of the same study."""
    assert loop.verdict == arrival.GradingResult("done", "graded", None)
    (stored,) = loop.reports()
    orthanc = loop.orthanc
    with OrthancArchive.connect(orthanc.url, orthanc.username, orthanc.password) as archive:
        expected = grade(loop.study, archive, load_bundle()).report
    got = reader.read(stored)
    assert got.bundle == expected.bundle
    assert [f.target for f in got.graded] == [f.target for f in expected.graded]
    for ours, theirs in zip(got.graded, expected.graded, strict=True):
        # Another process may sum in another order; more than that would be another report.
        assert ours.point.image == theirs.point.image
        assert ours.probabilities.severe == pytest.approx(theirs.probabilities.severe, abs=1e-3)


def test_the_report_has_its_deterministic_uid(loop):
    """The UID depends on study, images and bundle only, so that the archive can decide."""
    (stored,) = loop.reports()
    assert stored == wait_for_report(loop, loop.phantom)


def test_neither_its_report_nor_a_second_transfer_is_graded_again(loop):
    """After the arrival of the SR, and of the study again, the study is found graded."""
    (before,) = loop.reports()
    own = arrival.wait_for_result(loop.worker, loop.study, after=1)
    assert own.outcome == "already_graded"

    # Orthanc reports a study stable again only when an instance is new to it.
    uid = loop.phantom.series[0].sop_instance_uids[0]
    (match,) = loop.client.post("/tools/lookup", content=uid).json()
    loop.client.delete(match["Path"]).raise_for_status()
    seen = loop.verdicts()
    arrival.send(loop.client, loop.files)
    again = arrival.wait_for_result(loop.worker, loop.study, after=seen)
    assert again.outcome == "already_graded"
    (after,) = loop.reports()
    assert after == before


def test_no_patient_data_in_logs(loop):
    """Name, id and birth date of the patient are in no line that worker or Orthanc logged."""
    patient = pydicom.dcmread(loop.files[0], stop_before_pixels=True)
    logs = loop.worker.log.read_text() + loop.orthanc.process.log.read_text()
    assert "graded" in logs
    for value in (str(patient.PatientName), patient.PatientID, patient.PatientBirthDate):
        assert value
        assert value not in logs


def test_a_series_that_comes_late_revises_the_report(loop, tmp_path):
    """Without its axial series a study is graded in part; once it is there, a report in a series
    of its own revises that one, however often the study became stable in between."""
    phantom = make_phantom(4242, slices=SMALL)
    write_phantom(phantom, tmp_path)
    late = phantom.of(Role.AXIAL_T2).series_instance_uid
    files = sorted(tmp_path.rglob("*.dcm"))
    arrival.send(loop.client, [file for file in files if file.parent.name != late])
    first = wait_for_report(loop, phantom, but=late)
    assert {f.reason for f in reader.read(first).not_assessed} == {NotAssessedReason.NO_AXIAL_T2}

    arrival.send(loop.client, [file for file in files if file.parent.name == late])
    second = wait_for_report(loop, phantom)
    assert second.SeriesInstanceUID != first.SeriesInstanceUID
    assert len(reader.read(second).graded) > len(reader.read(first).graded)
    found = arrival.reports(loop.client, phantom.study_instance_uid)
    assert current_report(found).SOPInstanceUID == second.SOPInstanceUID
    by_uid = {report.SOPInstanceUID: report for report in found}
    revised = second
    while revised.SOPInstanceUID != first.SOPInstanceUID:
        (before,) = predecessors(revised)
        revised = by_uid[before]


def wait_for_report(loop, phantom: Phantom, but: str = "") -> pydicom.Dataset:
    """The report about all series of a phantom but one, once it is in the archive."""
    wanted_series = [s for s in phantom.series if s.series_instance_uid != but]
    images = [
        ImageReference(series.series_instance_uid, uid)
        for series in wanted_series
        for uid in series.sop_instance_uids
    ]
    roles = [f"{series.role}={series.series_instance_uid}" for series in wanted_series]
    study, bundle = phantom.study_instance_uid, load_bundle().identity
    fingerprint = uids.fingerprint(images, roles)
    wanted = uids.sr_instance_uid(study, fingerprint, bundle.sha256, PIPELINE_VERSION)
    deadline = time.monotonic() + 240
    while True:
        for report in arrival.reports(loop.client, study):
            if report.SOPInstanceUID == wanted:
                return report
        loop.worker.check()
        assert time.monotonic() < deadline, "the report does not come"
        time.sleep(0.5)
