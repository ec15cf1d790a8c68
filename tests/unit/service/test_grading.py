"""What counts as done: the archive's answer and what was kept, not what we remember."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydicom import Dataset

from dicom_sr.findings import TARGETS, BundleIdentity, NotAssessed, NotAssessedReason, Report
from dicom_sr.revisions import predecessors
from tests.support.phantoms import shared_phantom
from worker.archive.folder import FolderArchive
from worker.domain.graded_study import GradedStudy
from worker.domain.study import Instance, Role
from worker.domain.volume import Volumes
from worker.errors import ArchiveUnavailable, BrokenStudy, NotLumbar
from worker.intake.site import SiteRule
from worker.models.bundle import Bundle
from worker.phantom import write_phantom
from worker.service.grading import Grading, IncompleteStudy, Policy
from worker.service.record_store import RecordStore
from worker.service.records import Kind, Outcome, Record, sources_of
from worker.settings import Incomplete

START = datetime(2026, 1, 1, tzinfo=UTC)


class Kept(FolderArchive):
    """A folder that keeps what it is given in memory, and a note beside each study."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: dict[str, str] = {}
        self.reports: dict[str, Dataset] = {}
        self.loses: bool = False
        self.looked = 0

    def inventory(self, study: str) -> list[str]:
        return [instance.key for instance in super().headers(study)]

    def headers(self, study: str):
        self.looked += 1
        return [*super().headers(study), *(Instance(u, r) for u, r in self.reports.items())]

    def store(self, dataset: Dataset) -> None:
        if not self.loses:
            self.reports.setdefault(str(dataset.SOPInstanceUID), dataset)

    def stored(self, study: str, sop_instance_uid: str) -> Dataset | None:
        return self.reports.get(sop_instance_uid)

    def read_metadata(self, study: str) -> str | None:
        return self.notes.get(study)

    def write_metadata(self, study: str, text: str | None) -> None:
        self.notes[study] = text or ""


class NoIndex:
    """Redis as far as an index of failures asks for it."""

    def hset(self, *_):
        pass

    def hdel(self, *_):
        pass


class Clock:
    """A clock that a test sets."""

    now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One small phantom on disk."""
    folder = tmp_path_factory.mktemp("one")
    write_phantom(shared_phantom(1), folder)
    return str(folder)


@pytest.fixture
def part(study: str, tmp_path: Path) -> Path:
    """The same without its axial series, which lies in a folder beside it."""
    late = shared_phantom(1).of(Role.AXIAL_T2).series_instance_uid
    part = tmp_path / "part"
    shutil.copytree(study, part)
    (folder,) = (path for path in part.rglob(late) if path.is_dir())
    folder.rename(tmp_path / "late")
    return part


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here depends on what the models see."""

    def unsure(routed, _archive, bundle, _steps):
        study = routed.study.study_instance_uid
        findings = tuple(NotAssessed(target, NotAssessedReason.UNCERTAIN) for target in TARGETS)
        report = Report(study, bundle.identity, findings)
        return GradedStudy(report, routed, Volumes(), (), {})

    monkeypatch.setattr("worker.service.grading.grade_routed", unsure)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def grading(untrained: Bundle, clock: Clock) -> Grading:
    """Grading by small networks beside an archive that keeps everything in memory."""
    archive = Kept()
    return Grading(archive, untrained, RecordStore(archive, NoIndex(), "q"), clock=clock)


def run(grading: Grading, study: str, **how: object) -> Outcome:
    return grading.grade(study, grading.sources(study), **how)


def other_models(bundle: Bundle) -> Bundle:
    identity = replace(bundle.identity, sha256="f" * 64, device_uid="2.25.99")
    assert isinstance(identity, BundleIdentity)
    return replace(bundle, identity=identity)


def test_done_is_what_the_archive_gives_back(grading, study):
    """A report that comes back equal is done, stored once, and recorded with its UID."""
    assert run(grading, study) is Outcome.GRADED
    record = grading.records.read(study)
    assert (record.kind, record.report) == (Kind.GRADED, *grading.archive.reports)
    assert record.sources == sources_of(grading.archive.inventory(study))


def test_the_same_images_again_are_not_even_looked_at(grading, study):
    """A record about these very images, whose report is there, needs no header."""
    run(grading, study)
    looked = grading.archive.looked
    assert run(grading, study) is Outcome.ALREADY_GRADED
    assert grading.archive.looked == looked


def test_without_its_record_the_archive_is_the_judge(grading, study):
    """A worker that died between report and record leaves a report that is found, once."""
    run(grading, study)
    grading.archive.notes.clear()
    assert run(grading, study) is Outcome.ALREADY_GRADED
    assert len(grading.archive.reports) == 1
    assert grading.records.read(study).kind is Kind.GRADED


def test_a_deleted_report_is_written_again(grading, study):
    """The record of a report that was deleted is no result."""
    run(grading, study)
    grading.archive.reports.clear()
    assert run(grading, study) is Outcome.GRADED


@pytest.mark.parametrize("recorded", [True, False])
def test_other_models_alone_regrade_nothing(grading, study, recorded):
    """After an update a study that is sent again keeps its report, unless a regrade is asked
    for; that one revises it."""
    run(grading, study)
    if not recorded:
        grading.archive.notes.clear()
    updated = replace(grading, bundle=other_models(grading.bundle))
    assert run(updated, study) is Outcome.ALREADY_GRADED
    assert run(updated, study, regrade=True) is Outcome.GRADED
    assert run(updated, study, regrade=True) is Outcome.ALREADY_GRADED
    first, second = grading.archive.reports.values()
    (replaced,) = second.PredecessorDocumentsSequence
    (series,) = replaced.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID


def test_other_rules_make_another_report_where_it_is_asked_for(grading, study):
    """A corrected rule or age regrades nothing by itself; on demand the report is revised."""
    run(grading, study)

    def taken_for(role: Role, text: str) -> SiteRule:
        return SiteRule(text, role, "", (("description", re.compile(text)),))

    rules = taken_for(Role.SAGITTAL_T2, "^t1_tse_sag"), taken_for(Role.SAGITTAL_T1, "^t2_tse_sag")
    swapped = replace(grading, site=rules)
    assert run(swapped, study) is Outcome.ALREADY_GRADED
    assert run(swapped, study, regrade=True) is Outcome.GRADED
    assert run(swapped, study, regrade=True) is Outcome.ALREADY_GRADED
    first, second = grading.archive.reports.values()
    assert predecessors(second) == [first.SOPInstanceUID]


def test_a_rejection_stands_while_the_images_do(grading, study):
    """What was rejected or given up is not tried again by a message about the same images."""
    sources = grading.sources(study)
    grading.record_failure(
        study, sources, Kind.FAILED, code="DeviceBusy", reason="x", step="grade", attempts=3
    )
    assert run(grading, study) is Outcome.SKIPPED
    grading.records.delete(study)
    assert run(grading, study) is Outcome.GRADED


def test_a_report_is_not_forgotten_for_a_later_failure(grading, study):
    """Where the images have their report, an error on looking again is no dead letter."""
    run(grading, study)
    grading.record_failure(
        study, grading.sources(study), Kind.FAILED, code="x", reason="x", step="x", attempts=3
    )
    assert grading.records.read(study).kind is Kind.GRADED


def test_a_regrade_that_fails_is_a_dead_letter_and_the_report_stays(grading, study):
    """An order that other models could not carry out is listed; the record names the report."""
    run(grading, study)
    (report,) = grading.archive.reports
    updated = replace(grading, bundle=other_models(grading.bundle))
    updated.record_failure(
        study, updated.sources(study), Kind.FAILED, code="x", reason="x", step="x", attempts=3
    )
    record = updated.records.read(study)
    assert (record.kind, record.report) == (Kind.FAILED, report)
    assert run(updated, study, regrade=True) is Outcome.SKIPPED


def test_an_older_report_that_cannot_be_read_is_revised(grading, study):
    """What an archive damaged, or a newer version wrote, rejects no study that has grown."""
    run(replace(grading, bundle=other_models(grading.bundle)), study)
    (older,) = grading.archive.reports.values()
    del older.ContentSequence
    grading.archive.notes.clear()
    assert run(grading, study) is Outcome.GRADED


def test_what_was_sent_on_is_remembered_when_other_images_come(grading, study):
    """The same report is not sent on twice because the list of images was another one."""
    run(grading, study)
    record = grading.records.read(study)
    other = record.model_copy(update={"sources": "before", "forwarded": record.report})
    grading.records.write(study, other)
    assert run(grading, study) is Outcome.ALREADY_GRADED
    assert grading.records.read(study).forwarded == record.report


def test_stored_without_a_trace_is_tried_again(grading, study):
    """An archive that takes the report and does not hold it is asked again later."""
    grading.archive.loses = True
    with pytest.raises(ArchiveUnavailable, match="does not hold it"):
        run(grading, study)
    assert not grading.records.read(study)


def test_another_report_under_its_uid_is_no_success(grading, study):
    """A report that says something else stops there: a retry would take it for the result."""
    run(replace(grading, bundle=other_models(grading.bundle)), study)
    (other,) = grading.archive.reports.values()
    grading.archive.reports.clear()
    grading.archive.notes.clear()

    def swapped(dataset: Dataset) -> None:
        grading.archive.reports[str(dataset.SOPInstanceUID)] = other

    grading.archive.store = swapped
    with pytest.raises(BrokenStudy, match="different report"):
        run(grading, study)


@pytest.mark.parametrize(
    ("policy", "at_once", "in_time", "too_late"),
    [
        (Incomplete.GRADE, Outcome.GRADED, Outcome.GRADED, Outcome.ALREADY_GRADED),
        (Incomplete.WAIT, Outcome.WAITING, Outcome.GRADED, Outcome.GRADED),
        (Incomplete.REJECT, Outcome.WAITING, Outcome.GRADED, IncompleteStudy),
    ],
)
def test_a_study_that_lacks_a_series(grading, clock, part, policy, at_once, in_time, too_late):
    """Each policy: at once, when the series comes in time, and when it does not."""
    grading = replace(grading, policy=Policy(policy, timedelta(minutes=10)))
    study = str(part)
    assert run(grading, study) is at_once
    if at_once is Outcome.WAITING:
        record = grading.records.read(study)
        assert (record.kind, record.until) == (Kind.WAITING, START + timedelta(minutes=10))
        assert "axial T2" in record.reason
        assert "15 of 25" in record.reason
        assert run(grading, study) is Outcome.WAITING

    clock.now += timedelta(minutes=11)
    if isinstance(too_late, Outcome):
        assert run(grading, study) is too_late
    else:
        with pytest.raises(too_late, match="none arrived in time"):
            run(grading, study)

    (part.parent / "late").rename(part / "late")
    assert run(grading, study) is in_time
    assert grading.records.read(study).kind is Kind.GRADED


def test_time_counts_from_when_the_last_series_came(grading, clock, part):
    """A study that still grows is not given up for what it lacked before."""
    grading = replace(grading, policy=Policy(Incomplete.REJECT, timedelta(minutes=10)))
    held = sorted(part.rglob("*.dcm"))[0]
    aside = part.parent / "aside.dcm"
    held.rename(aside)
    assert run(grading, str(part)) is Outcome.WAITING
    clock.now += timedelta(minutes=11)
    aside.rename(held)
    assert run(grading, str(part)) is Outcome.WAITING


def test_a_study_that_is_none_of_ours_is_rejected(grading, tmp_path):
    """Rejections come out as errors; the task keeps them."""
    with pytest.raises(NotLumbar):
        run(grading, str(tmp_path))


def test_a_record_survives_being_written(grading):
    """What is read back is what was written, and what is not ours is no record."""
    record = Record(kind=Kind.WAITING, sources="s", bundle="b", time=START, until=START, attempts=4)
    grading.records.write("study", record)
    assert grading.records.read("study") == record
    grading.archive.notes["study"] = "not ours"
    assert grading.records.read("study") is None
