"""One case from its files to its end, and whether that end is one that we allow."""

from __future__ import annotations

import logging
import math
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path

from pydicom import dcmwrite

from dicom_sr import reader
from dicom_sr.findings import TARGETS, Graded
from tests.support.fuzzing.cases import Case
from tests.support.fuzzing.mutations import Files
from tests.support.fuzzing.networks import small_bundle
from tests.support.fuzzing.originals import original
from tests.support.fuzzing.values import MARKS
from worker.archive.folder import FolderArchive
from worker.domain.graded_study import GradedStudy
from worker.errors import Rejected
from worker.models.bundle import Bundle
from worker.pipeline import grade
from worker.report.report_json import report_document, to_json
from worker.report.structured import structured_report

SHM = Path("/dev/shm")
"""Files that live for a tenth of a second need no disk."""


def judge(case: Case, bundle: Bundle) -> str:
    """How a case ended: graded, not assessed, or the name of a rejection.

    Raises AssertionError for an end that is not allowed, and whatever the product raises
    that it should not.
    """
    with (
        tempfile.TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as folder,
        unmarked_words() as words,
    ):
        study = Path(folder, "study")
        study.mkdir()
        broken(case).write(study)
        archive = FolderArchive(Path(folder, "reports"))
        try:
            graded = grade(str(study), archive, bundle)
            check(graded)
            if case.stored:
                report = structured_report(graded)
                archive.store(report)
                back = archive.stored(str(study), report.SOPInstanceUID)
                assert back is not None, "the report cannot be read back"
                assert reader.read(back) == graded.report, "another report is read back"
                to_json(report_document(graded))
        except Rejected as error:
            if not str(error):
                raise AssertionError("a rejection without a reason") from error
            words += [repr(error), *traceback.format_exception(error)]
            return type(error).__name__
        finally:
            words += [path.name for path in Path(folder, "reports").rglob("*")]
    return "graded" if graded.report.graded else "not assessed"


def broken(case: Case) -> Files:
    """The files of a case."""
    every = original(case.kind)
    files = Files([list(every[number]) for number in case.series])
    if case.with_report:
        files.series.append([own_report()])
    for mutation in case.mutations:
        mutation.apply(files)
    return files


def check(graded: GradedStudy) -> None:
    """25 targets, each point inside its image, numbers that are numbers, no series lost."""
    assert tuple(f.target for f in graded.report.findings) == TARGETS
    planes = {h.image: h.plane for v in graded.volumes.all for h in v.slices}
    for finding in graded.report.findings:
        if not isinstance(finding, Graded):
            assert finding.reason.label
            continue
        shares = [finding.probabilities.of(severity) for severity in type(finding.severity)]
        assert all(0 <= share <= 1 for share in shares), finding
        assert math.isclose(sum(shares), 1, abs_tol=1e-5), finding
        assert 0 <= finding.confidence <= 1, finding
        assert finding.graded_on in planes, finding
        assert planes[finding.point.image].contains(finding.point.column, finding.point.row)
    decided = Counter(d.series_instance_uid for d in graded.routed.decisions)
    assert decided == Counter(s.series_instance_uid for s in graded.routed.study.series)
    assert all(decision.reason for decision in graded.routed.decisions)


@cache
def own_report() -> bytes:
    """The report of the study as it was."""
    with tempfile.TemporaryDirectory() as folder:
        Files([list(one) for one in original("classic")]).write(Path(folder))
        graded = grade(folder, FolderArchive(), small_bundle())
        buffer = BytesIO()
        dcmwrite(buffer, structured_report(graded), enforce_file_format=True)
    return buffer.getvalue()


@contextmanager
def unmarked_words() -> Iterator[list[str]]:
    """Collects log lines and warnings, and whatever is added; none may name the patient."""
    words: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            words.append(self.format(record))

    root, handler = logging.getLogger(), Keep()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    shown, warnings.showwarning = warnings.showwarning, lambda *args, **_: words.append(str(args))
    try:
        yield words
    finally:
        warnings.showwarning = shown
        root.setLevel(level)
        root.removeHandler(handler)
    said = [word for word in words if any(mark in word for mark in MARKS)]
    assert not said, f"names the patient: {said[0]}"
