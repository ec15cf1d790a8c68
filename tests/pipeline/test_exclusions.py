"""What must not be graded is not: each reason is read back, coded, from the study's SR."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_sr.findings import NotAssessedReason
from dicom_sr.reader import read
from worker.archive.folder import FolderArchive
from worker.bundles.loading import Bundle
from worker.phantom import SMALL, make_phantom, write_phantom
from worker.phantom.study import Phantom
from worker.pipeline import grade
from worker.report.structured import structured_report


class Unread(FolderArchive):
    """An archive whose pixels nobody may ask for."""

    def fetch(self, keys):
        raise AssertionError(f"{len(keys)} objects were read")


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    """One small phantom for all."""
    return make_phantom(11, slices=SMALL)


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (NotAssessedReason.UNDER_AGE, {"PatientAge": "015Y"}),
        (NotAssessedReason.NOT_LUMBAR, {"PixelSpacing": [0.3, 0.8]}),
        (NotAssessedReason.TRANSITIONAL_ANATOMY, {"StudyDescription": "L-spine, Castellvi III"}),
        (NotAssessedReason.METAL_ARTEFACT, {"StudyDescription": "L-spine, titanium screws"}),
    ],
)
def test_headers_alone_exclude_a_whole_study(
    phantom: Phantom, bundle: Bundle, tmp_path: Path, reason: NotAssessedReason, changes: dict
) -> None:
    """25 times the same coded reason in an SR of every image, and no pixel read."""
    write_phantom(phantom, tmp_path)
    files = list(tmp_path.rglob("*.dcm"))
    for file in files:
        dataset = dcmread(file)
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
        dataset.save_as(file)
    document = structured_report(grade(str(tmp_path), Unread(), bundle))
    report = read(document)
    assert [finding.reason for finding in report.not_assessed] == [reason] * 25
    (study,) = document.CurrentRequestedProcedureEvidenceSequence
    listed = sum(len(series.ReferencedSOPSequence) for series in study.ReferencedSeriesSequence)
    assert listed == len(files)
