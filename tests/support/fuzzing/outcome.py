"""Runs one case from its files to its outcome, and checks that the outcome is allowed."""

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
"""Files in memory, because they are needed only briefly."""


def run_case(case: Case, bundle: Bundle) -> str:
    """The outcome of a case: graded, not assessed, or the name of a rejection.

    Raises AssertionError for an outcome that is not allowed, and any unexpected exception.
    """
    with (
        tempfile.TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as folder,
        no_patient_data() as texts,
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
            texts += [repr(error), *traceback.format_exception(error)]
            return type(error).__name__
        finally:
            texts += [path.name for path in Path(folder, "reports").rglob("*")]
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
    """All targets, each point inside its image, valid numbers, a decision for every series."""
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
def no_patient_data() -> Iterator[list[str]]:
    """Collects log lines, warnings and added texts; none may contain patient data."""
    texts: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(self.format(record))

    root, handler = logging.getLogger(), Collect()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    shown, warnings.showwarning = warnings.showwarning, lambda *args, **_: texts.append(str(args))
    try:
        yield texts
    finally:
        warnings.showwarning = shown
        root.setLevel(level)
        root.removeHandler(handler)
    leaks = [text for text in texts if any(mark in text for mark in MARKS)]
    assert not leaks, f"names the patient: {leaks[0]}"
