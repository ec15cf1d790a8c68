"""A small study of source headers, and reports about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage

from dicom_sr.findings import (
    TARGETS,
    BundleIdentity,
    Condition,
    Finding,
    Graded,
    ImagePoint,
    ImageReference,
    NotAssessed,
    NotAssessedReason,
    Probabilities,
    Report,
    Target,
)
from dicom_sr.uids import device_uid
from dicom_sr.uids import fingerprint as fingerprint_of
from dicom_sr.writer import write

STUDY = "1.2.3.44036939"
"""As odd as the UIDs of research exports are."""

SAGITTAL = tuple(ImageReference(f"{STUDY}.1", f"{STUDY}.1.{n}") for n in range(1, 6))
AXIAL = tuple(ImageReference(f"{STUDY}.2", f"{STUDY}.2.1", frame=n) for n in range(1, 11))
"""Five single-frame images, and ten frames of one multi-frame image."""


def header(image: ImageReference, frames: int | None = None) -> Dataset:
    """A source header with the attributes that an SR copies or refers to."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.PatientName = "Müller^Jörg"
    ds.PatientID = "P-1"
    ds.PatientBirthDate = "19600102"
    ds.PatientSex = "M"
    ds.StudyInstanceUID = STUDY
    ds.StudyDate = "20240501"
    ds.StudyTime = "101500"
    ds.ReferringPhysicianName = ""
    ds.StudyID = "7"
    ds.AccessionNumber = "A-9"
    ds.SeriesInstanceUID = image.series_instance_uid
    ds.SOPInstanceUID = image.sop_instance_uid
    ds.SOPClassUID = MRImageStorage if frames is None else EnhancedMRImageStorage
    ds.ContentDate = "20240501"
    ds.ContentTime = "101600.5"
    ds.Rows, ds.Columns = 320, 256
    if frames is not None:
        ds.NumberOfFrames = frames
    return ds


@pytest.fixture
def sources() -> list[Dataset]:
    """The headers of both series, in acquisition order."""
    return [*(header(image) for image in SAGITTAL), header(AXIAL[0], frames=10)]


def grade(target: Target) -> Finding:
    """Each target graded differently, on the axial frames; the left foramina not assessed."""
    n = TARGETS.index(target)
    if target.condition is Condition.NEURAL_FORAMINAL_NARROWING and target.side == "left":
        return NotAssessed(target, list(NotAssessedReason)[n % len(NotAssessedReason)])
    graded_on = AXIAL[n % len(AXIAL)]
    shown = SAGITTAL[n % len(SAGITTAL)] if target.side is None else graded_on
    severe = (n * 37 % 100) / 101
    return Graded(
        target,
        Probabilities(0.75 * (1 - severe), 0.25 * (1 - severe), severe),
        confidence=1 / (n + 1),
        point=ImagePoint(shown, 10.25 + n, 20.5 + 3 * n),
        graded_on=graded_on,
    )


@pytest.fixture
def bundle() -> BundleIdentity:
    """The models that graded."""
    return BundleIdentity("default", "0.1.0", "ab" * 32, device_uid("ab" * 32))


@pytest.fixture
def report_with(bundle: BundleIdentity) -> Callable[..., Report]:
    """Make a report of which some findings are replaced."""

    def make(replaced: Mapping[Target, Finding] | None = None) -> Report:
        findings = {target: grade(target) for target in TARGETS} | dict(replaced or {})
        return Report(STUDY, bundle, tuple(findings.values()))

    return make


@pytest.fixture
def report(report_with: Callable[..., Report]) -> Report:
    """Twenty graded targets, five not assessed."""
    return report_with()


@pytest.fixture
def nothing_assessed(report_with: Callable[..., Report]) -> Report:
    """A study of which nothing could be graded."""
    reason = NotAssessedReason.LEVEL_NOT_FOUND
    return report_with({target: NotAssessed(target, reason) for target in TARGETS})


@pytest.fixture
def fingerprint() -> str:
    """The fingerprint of both series."""
    return fingerprint_of((*SAGITTAL, *AXIAL))


@pytest.fixture
def written(report: Report, sources: list[Dataset], fingerprint: str) -> Dataset:
    """The report as an SR."""
    return write(
        report, sources, software_version="0.1.0", pipeline_version=1, fingerprint=fingerprint
    )


@pytest.fixture
def encoded() -> Callable[[Dataset], bytes]:
    """The bytes of the DICOM file that holds a dataset."""

    def encode(dataset: Dataset) -> bytes:
        buffer = BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True)
        return buffer.getvalue()

    return encode


@pytest.fixture
def through_bytes(encoded: Callable[[Dataset], bytes]) -> Callable[[Dataset], Dataset]:
    """A dataset as it comes back from its file."""
    return lambda dataset: dcmread(BytesIO(encoded(dataset)))
