"""One study from the archive back into the archive: graded at most once, and checked."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from dicom_sr import reader
from dicom_sr.errors import ReportError
from worker.errors import ArchiveUnavailable, BrokenStudy
from worker.pipeline import Observer, Steps, grade_routed, look
from worker.report.structured import expected_sr_uid, structured_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicom_sr.findings import Report
    from worker.archive import Archive
    from worker.bundles.loading import Bundle
    from worker.intake.site import SiteRule


class Outcome(StrEnum):
    """How the grading of a study ended when it ended well."""

    GRADED = "graded"
    NOTHING_NEW = "nothing_new"


def grade_and_store(
    study: str,
    archive: Archive,
    bundle: Bundle,
    *,
    site: Sequence[SiteRule] = (),
    observe: Observer = lambda _: None,
) -> Outcome:
    """Grade a study, store its report, and read it back before calling it done.

    The archive is the judge: its headers tell the report's deterministic UID, and where a
    report is stored under that UID already (ours came back, the study was sent again)
    nothing is done. A report of fewer images or other models stays, and is named as revised.
    Raises what `look` and `grade_routed` raise; `ArchiveUnavailable` when the
    report is not there after it was stored; `BrokenStudy` when another report, or
    something that is none, occupies its UID.
    """
    steps = Steps(observe)
    routed = look(study, archive, steps, site)
    if _stored_report(study, archive, expected_sr_uid(routed, bundle.identity)) is not None:
        return Outcome.NOTHING_NEW

    graded = grade_routed(routed, archive, bundle, steps)
    observe("store")
    document = structured_report(graded)
    archive.store(document)
    observe("read back")
    back = _stored_report(study, archive, document.SOPInstanceUID)
    if back is None:
        raise ArchiveUnavailable(
            "the archive took the report but does not hold it: look for a filter or a full disk"
        )
    if back != graded.report:
        # Another try would only find this report and take it for the result.
        raise BrokenStudy(
            f"the archive holds another report under {document.SOPInstanceUID}: look there"
        )
    return Outcome.GRADED


def _stored_report(study: str, archive: Archive, sop_instance_uid: str) -> Report | None:
    stored = archive.stored(study, sop_instance_uid)
    if stored is None:
        return None
    try:
        return reader.read(stored)
    except ReportError as error:
        raise BrokenStudy(
            f"the object {sop_instance_uid} in the archive is not the report it should be; "
            "delete it there and send the study again"
        ) from error
