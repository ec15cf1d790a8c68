"""What counts as done: the archive's answer, not ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import Dataset

from worker.archive.folder import FolderArchive
from worker.bundles.loading import Bundle
from worker.errors import ArchiveUnavailable, BrokenStudy
from worker.phantom import SMALL, make_phantom, write_phantom
from worker.pipeline import grade
from worker.report.structured import structured_report
from worker.service.grading import Outcome, grade_and_store


class Answering(FolderArchive):
    """A folder whose answers to `stored` are given beforehand."""

    def __init__(self, answers: list[Dataset | None]) -> None:
        super().__init__()
        self.answers = answers
        self.kept: list[Dataset] = []

    def store(self, dataset: Dataset) -> None:
        self.kept.append(dataset)

    def stored(self, study: str, sop_instance_uid: str) -> Dataset | None:
        return self.answers.pop(0)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small phantom on disk."""
    folder = tmp_path_factory.mktemp("one")
    write_phantom(make_phantom(1, slices=SMALL), folder)
    return folder


@pytest.fixture(scope="module")
def report(study: Path, untrained: Bundle) -> Dataset:
    """Its report."""
    return structured_report(grade(str(study), FolderArchive(), untrained))


def test_done_is_what_the_archive_gives_back(
    study: Path, report: Dataset, untrained: Bundle
) -> None:
    """A report that comes back equal is done, stored once."""
    archive = Answering([None, report])
    assert grade_and_store(str(study), archive, untrained) is Outcome.GRADED
    assert [kept.SOPInstanceUID for kept in archive.kept] == [report.SOPInstanceUID]


def test_a_report_already_there_is_the_result(
    study: Path, report: Dataset, untrained: Bundle
) -> None:
    """The same instances sent again are not graded again."""
    archive = Answering([report])
    assert grade_and_store(str(study), archive, untrained) is Outcome.NOTHING_NEW
    assert not archive.kept


def test_stored_without_a_trace_is_tried_again(study: Path, untrained: Bundle) -> None:
    """An archive that takes the report and does not hold it is asked again later."""
    with pytest.raises(ArchiveUnavailable, match="does not hold it"):
        grade_and_store(str(study), Answering([None, None]), untrained)


def test_another_report_under_its_uid_is_no_success(
    study: Path, untrained: Bundle, tmp_path: Path
) -> None:
    """A report that says something else stops there: a retry would take it for the result."""
    write_phantom(make_phantom(2, slices=SMALL), tmp_path)
    other = structured_report(grade(str(tmp_path), FolderArchive(), untrained))
    with pytest.raises(BrokenStudy, match="another report"):
        grade_and_store(str(study), Answering([None, other]), untrained)
