"""One study from the archive back into the archive: graded at most once, and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from dicom_sr import reader, uids
from dicom_sr.errors import ReportError
from dicom_sr.revisions import current_report
from worker import MIN_AGE_YEARS, PIPELINE_VERSION
from worker.errors import ArchiveUnavailable, BrokenStudy, Rejected
from worker.intake import completeness
from worker.pipeline import Observer, Steps, grade_routed, look
from worker.report.structured import expected_sr_uid, fingerprint, structured_report
from worker.service.records import Kind, Outcome, Record, Records, now, sources_of
from worker.settings import Incomplete

if TYPE_CHECKING:
    from dicom_sr.findings import Report
    from worker.archive import Hospital
    from worker.domain.study import RoutedStudy
    from worker.intake.site import SiteRule
    from worker.models.loading import Bundle
    from worker.pipeline import GradedStudy


_LEFT: Final = {Kind.GRADED: Outcome.NOTHING_NEW, Kind.WAITING: Outcome.WAITING}


class IncompleteStudy(Rejected):
    """Series are missing, they did not come in time, and the site wants no part of a report."""


@dataclass(frozen=True)
class Policy:
    """What a site wants: of a study that lacks a series, and of the young.

    `wait` is how long it waits for a series.
    """

    incomplete: Incomplete = Incomplete.GRADE
    wait: timedelta = timedelta(minutes=10)
    min_age_years: int = MIN_AGE_YEARS


@dataclass(frozen=True, eq=False)
class Grading:
    """How studies of one archive are graded, and how what became of them is kept.

    `told` is called with each study that was graded, after its report was read back.
    """

    archive: Hospital
    bundle: Bundle
    records: Records
    site: Sequence[SiteRule] = ()
    policy: Policy = Policy()
    told: Callable[[GradedStudy], None] = lambda _: None
    clock: Callable[[], datetime] = now

    def sources(self, study: str) -> str:
        """The fingerprint of the study's images as they are now, for the two methods below."""
        return sources_of(self.archive.inventory(study))

    def grade(
        self,
        study: str,
        sources: str,
        *,
        regrade: bool = False,
        observe: Observer = lambda _: None,
    ) -> Outcome:
        """Grade a study, store its report, and read it back before calling it done.

        The archive is the judge. Nothing is done where a record speaks of these very images
        and its report, if it names one, is still there; nor where the archive holds a report
        about the images that routing chooses (the same study was sent again, our own report
        came back). With `regrade` only a report of the same models counts, and routing is always
        asked. A report of fewer images stays, and is named as revised.

        Raises what `look` and `grade_routed` raise; `ArchiveUnavailable` when the report is
        not there after it was stored; `BrokenStudy` when another report, or something that is
        none, occupies its UID; `IncompleteStudy`.
        """
        known = record = self.records.read(study)
        if record and not record.about(sources, self._models if regrade else None):
            record = None
        if regrade and record and record.kind is Kind.GRADED:
            record = None  # the site's rules may have changed: routing tells
        if record and record.stands(self.clock()) and record.report_is_in(self.archive, study):
            return _LEFT.get(record.kind, Outcome.LEFT)

        steps = Steps(observe)
        routed = look(study, self.archive, steps, self.site, self.policy.min_age_years)
        if (done := self._report_about(study, routed, regrade)) is not None:
            uid, by = done
            delivered = known.delivered if known and known.report == uid else None
            self._keep(study, Kind.GRADED, sources, report=uid, bundle=by, delivered=delivered)
            return Outcome.NOTHING_NEW
        if until := self._wait_until(routed, record):
            missing = completeness.describe(completeness.missing(routed))
            self._keep(study, Kind.WAITING, sources, reason=missing, until=until)
            return Outcome.WAITING

        graded = grade_routed(routed, self.archive, self.bundle, steps)
        observe("store")
        document = structured_report(graded)
        self.archive.store(document)
        observe("read back")
        back = self._stored_report(study, document.SOPInstanceUID)
        if back is None:
            raise ArchiveUnavailable(
                "the archive took the report but does not hold it: look for a filter or a full disk"
            )
        if not back.agrees_with(graded.report):
            # Another try would only find this report and take it for the result.
            raise BrokenStudy(
                f"the archive holds another report under {document.SOPInstanceUID}: look there"
            )
        self.told(graded)
        self._keep(study, Kind.GRADED, sources, report=document.SOPInstanceUID)
        return Outcome.GRADED

    def give_up(
        self, study: str, sources: str, kind: Kind, *, code: str, reason: str, step: str, tries: int
    ) -> None:
        """Keep why there will be no report of these images, unless there is one already.

        A report of other models stays, and the record goes on to name it.
        """
        record = self.records.read(study)
        if record and not record.about(sources):
            record = None
        if record and record.kind is Kind.GRADED and record.about(sources, self._models):
            return
        self._keep(
            study,
            kind,
            sources,
            report=record and record.report,
            code=code,
            reason=reason,
            step=step,
            tries=tries,
        )

    @property
    def _models(self) -> str:
        return self.bundle.identity.sha256

    def _keep(self, study: str, kind: Kind, sources: str, **details: object) -> None:
        record = Record.model_validate(
            {
                "kind": kind,
                "sources": sources,
                "bundle": self._models,
                "time": self.clock(),
                **details,
            }
        )
        self.records.write(study, record)

    def _report_about(
        self, study: str, routed: RoutedStudy, regrade: bool
    ) -> tuple[str, str] | None:
        """A stored report about the routed images: its SOP Instance UID, its models' SHA-256."""
        expected = expected_sr_uid(routed, self.bundle.identity)
        if self._stored_report(study, expected) is not None:
            return expected, self._models
        current = None if regrade else current_report(routed.study.sources.values())
        if current is None:
            return None
        uid = str(current.SOPInstanceUID)
        try:
            report = self._stored_report(study, uid)
        except BrokenStudy:
            return None  # an older report that cannot be read: a new one revises it
        if report is None:
            return None
        # The UID depends on the images, whichever models and pipeline version wrote the report.
        by = report.bundle.sha256
        about = (report.study_instance_uid, fingerprint(routed), by)
        versions = range(1, PIPELINE_VERSION + 1)
        is_same = any(uids.sr_instance_uid(*about, version) == uid for version in versions)
        return (uid, by) if is_same else None

    def _wait_until(self, routed: RoutedStudy, record: Record | None) -> datetime | None:
        """How long to wait for missing series, None where there is nothing to wait for.

        Raises `IncompleteStudy` when the time is over and the site wants no part of a report.
        """
        missing = completeness.missing(routed)
        if not missing or routed.exclusions or self.policy.incomplete is Incomplete.GRADE:
            return None
        waited = record.until if record and record.kind is Kind.WAITING else None
        until = waited or self.clock() + self.policy.wait
        if self.clock() < until:
            return until
        if self.policy.incomplete is Incomplete.REJECT:
            raise IncompleteStudy(
                f"{completeness.describe(missing)}, and none came in time; when one comes the "
                "study is looked at again"
            )
        return None

    def _stored_report(self, study: str, sop_instance_uid: str) -> Report | None:
        stored = self.archive.stored(study, sop_instance_uid)
        if stored is None:
            return None
        try:
            return reader.read(stored)
        except ReportError as error:
            raise BrokenStudy(
                f"the object {sop_instance_uid} in the archive is not the report it should be; "
                f"delete it there, then run `lumbar failures replay {study}`"
            ) from error
