"""Writes a `Report` as a DICOM Comprehensive SR; `reader.read` is the inverse."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from pydicom import Dataset

from dicom_sr import document, uids
from dicom_sr.attributes import numbers
from dicom_sr.content import tree
from dicom_sr.errors import ReportError
from dicom_sr.findings import BundleIdentity, Report
from dicom_sr.sources import Sources, check_uids

_LONG_STRING: Final = re.compile(r"(?! )[ -\[\]-}]{1,64}(?<! )")
"""Text that VR LO preserves: 1 to 64 ASCII characters without outer spaces, backslash and tilde
(which differ in other character sets)."""
_LAST_NUMBER: Final = 2**31 - 1
"""The largest value of VR IS (PS3.5 6.2)."""
_UID: Final = re.compile(r"[0-9.]{1,64}")


def write(
    report: Report,
    sources: Sequence[Dataset],
    *,
    software_version: str,
    pipeline_version: int,
    fingerprint: str,
    predecessor: Dataset | None = None,
) -> Dataset:
    """The report as a Comprehensive SR, TID 1500, Explicit VR Little Endian (PS3.3 A.35.3).

    `sources` are the headers of every image of the routed series, in any order;
    `fingerprint` is `uids.fingerprint` of these images; `pipeline_version` is the version of
    the code that made the report and is part of the UIDs; `predecessor` is the SR about the
    same study that this one revises. The same arguments give the same bytes.

    Raises ReportError with the finding when it refers to an image that is not among
    `sources` or its point lies outside of the image; also when a source belongs to another
    study, or a source or the predecessor lacks a UID that can be written.
    """
    images = Sources(sources)
    images.check(report)
    _check_texts(report.bundle, software_version)

    identity = (report.study_instance_uid, fingerprint, report.bundle.sha256, pipeline_version)
    instance_uid = uids.sr_instance_uid(*identity)
    if predecessor is not None:
        check_uids(predecessor)
        if predecessor.SOPInstanceUID == instance_uid:
            raise ReportError(
                "the predecessor is this report itself: same images, models and pipeline version"
            )

    sr = document.patient_and_study(images)
    series = document.sr_series(
        images,
        instance_uid=instance_uid,
        series_uid=uids.sr_series_uid(*identity),
        version=software_version,
        number=_series_number(predecessor),
    )
    sr.file_meta = series.file_meta
    sr.update(series)
    sr.update(document.sr_document(images, report.study_instance_uid, predecessor))
    sr.ContributingEquipmentSequence = [document.contributing_equipment(report.bundle, images)]
    sr.update(tree(report, images, instance_uid))
    return sr


def _series_number(predecessor: Dataset | None) -> int:
    for number in () if predecessor is None else numbers(predecessor, "SeriesNumber")[:1]:
        if document.FIRST_SERIES_NUMBER <= number < _LAST_NUMBER:
            return int(number) + 1
    return document.FIRST_SERIES_NUMBER


def _check_texts(bundle: BundleIdentity, software_version: str) -> None:
    """Raise ReportError for texts that DICOM would truncate, trim or split."""
    for name, value in (
        ("bundle name", bundle.name),
        ("bundle version", bundle.version),
        ("bundle sha256", bundle.sha256),
        ("software version", software_version),
        ("series description", f"Lumbar AI {software_version} (research)"),
    ):
        if not _LONG_STRING.fullmatch(value):
            raise ReportError(f"{name} {value!r} is not 1 to 64 plain ASCII characters")
    if not _UID.fullmatch(bundle.device_uid):
        raise ReportError(f"bundle device UID {bundle.device_uid!r} is not a UID")
