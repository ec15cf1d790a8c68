"""The Structured Report of a graded study: its UID, its sources and its predecessor."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import Dataset

from dicom_sr import uids, writer
from dicom_sr.errors import ReportError
from dicom_sr.findings import BundleIdentity, ImageReference
from dicom_sr.revisions import current_report
from worker import PIPELINE_VERSION, __version__
from worker.domain.graded_study import GradedStudy
from worker.domain.study import RoutedStudy
from worker.errors import BrokenStudy


def structured_report(graded: GradedStudy) -> Dataset:
    """The Structured Report of a graded study, with the same UID for the same input.

    If the study holds an older lumbar report (of fewer images or of other models), the new one
    names it as its predecessor. Raises `BrokenStudy` if the study's headers do not permit an SR.
    """
    uid = expected_sr_uid(graded.routed, graded.report.bundle)
    try:
        return writer.write(
            graded.report,
            source_headers(graded.routed),
            software_version=__version__,
            pipeline_version=PIPELINE_VERSION,
            fingerprint=fingerprint(graded.routed),
            predecessor=current_report(graded.routed.study.sources.values(), besides=uid),
        )
    except ReportError as error:
        raise BrokenStudy(f"the report cannot be written: {error}") from error


def expected_sr_uid(routed: RoutedStudy, bundle: BundleIdentity) -> str:
    """The SOP Instance UID of the report of a routed study; it is known before grading."""
    study = routed.study.study_instance_uid
    return uids.sr_instance_uid(study, fingerprint(routed), bundle.sha256, PIPELINE_VERSION)


def fingerprint(routed: RoutedStudy) -> str:
    """The fingerprint of the routed series' instances, their roles and the exclusions.

    A changed site rule or minimum age therefore gives a different report of the study.
    """
    roles = (
        f"{role}={series.series_instance_uid}"
        for role, chosen in routed.roles.items()
        for series in chosen
    )
    reasons = (exclusion.reason for exclusion in routed.exclusions)
    return uids.fingerprint(_routed_images(routed), [*roles, *reasons])


def source_headers(routed: RoutedStudy) -> list[Dataset]:
    """The headers of every instance of the routed series, without duplicates.

    If no series has a role: those of every MR image, as all were examined.
    """
    sources = routed.study.sources
    images = {(i.series_instance_uid, i.sop_instance_uid): None for i in _routed_images(routed)}
    if not images:
        return [header for header in sources.values() if header.get("Modality") == "MR"]
    return [sources[key] for key in images]


def _routed_images(routed: RoutedStudy) -> Iterator[ImageReference]:
    for series in (s for role in routed.roles.values() for s in role):
        for header in series.slices:
            yield header.image
