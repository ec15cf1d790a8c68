"""One study from the archive back into the archive: graded at most once, and verified."""

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
from worker.pipeline import Observer, Steps, grade_routed, route_study
from worker.report.structured import expected_sr_uid, fingerprint, structured_report
from worker.service.record_store import RecordStore
from worker.service.records import Kind, Outcome, Record, now, sources_of
from worker.settings import Incomplete

if TYPE_CHECKING:
    from dicom_sr.findings import Report
    from worker.archive import SearchableArchive
    from worker.domain.graded_study import GradedStudy
    from worker.domain.study import RoutedStudy
    from worker.intake.site import SiteRule
    from worker.models.bundle import Bundle


_OUTCOMES: Final = {Kind.GRADED: Outcome.ALREADY_GRADED, Kind.WAITING: Outcome.WAITING}
"""The outcome of a study whose record is still valid; of all other kinds, SKIPPED."""


class IncompleteStudy(Rejected):
    """Series are missing, the wait is over, and the site wants no partial report."""


@dataclass(frozen=True)
class Policy:
    """What a site does with a study that lacks a series, and its minimum age.

    `wait` is how long to wait for missing series.
    """

    incomplete: Incomplete = Incomplete.GRADE
    wait: timedelta = timedelta(minutes=10)
    min_age_years: int = MIN_AGE_YEARS


@dataclass(frozen=True)
class _StoredReport:
    """A report in the archive, and the models (SHA-256) and pipeline version that wrote it."""

    uid: str
    bundle: str
    pipeline: int


@dataclass(frozen=True, eq=False)
class Grading:
    """Grades the studies of one archive and records how that ended.

    `on_graded` is called with each graded study, after its report was read back.
    """

    archive: SearchableArchive
    bundle: Bundle
    records: RecordStore
    site: Sequence[SiteRule] = ()
    policy: Policy = Policy()
    on_graded: Callable[[GradedStudy], None] = lambda _: None
    clock: Callable[[], datetime] = now

    def sources(self, study: str) -> str:
        """The fingerprint of the study's images as they are now."""
        return sources_of(self.archive.inventory(study))

    def grade(
        self,
        study: str,
        sources: str,
        *,
        regrade: bool = False,
        observe: Observer = lambda _: None,
    ) -> Outcome:
        """Grade a study, store its report and read it back.

        The archive decides. Nothing is done if a record is about these images and its report, if
        it names one, still exists; nor if the archive holds a report about the images that
        routing selects (the study was sent again, or its report arrived). With `regrade` only a
        report of the same models counts, and the study is always routed. A report of fewer
        images stays, and the new one names it as its predecessor.

        Raises what `route_study` and `grade_routed` raise; `ArchiveUnavailable` if the report is
        missing after it was stored; `BrokenStudy` if another object has its UID;
        `IncompleteStudy`.
        """
        known = record = self.records.read(study)
        if record and not record.is_about(sources, self._models if regrade else None):
            record = None
        if regrade and record and record.kind is Kind.GRADED:
            record = None  # the site's rules may have changed: route it again
        if record and record.is_final(self.clock()) and record.report_exists(self.archive, study):
            return _OUTCOMES.get(record.kind, Outcome.SKIPPED)

        steps = Steps(observe)
        routed = route_study(
            study,
            self.archive,
            steps,
            site=self.site,
            min_age_years=self.policy.min_age_years,
        )
        if (done := self._report_about(study, routed, regrade)) is not None:
            forwarded = known.forwarded if known and known.report == done.uid else None
            self._record(
                study,
                Kind.GRADED,
                sources,
                report=done.uid,
                bundle=done.bundle,
                pipeline=done.pipeline,
                forwarded=forwarded,
            )
            return Outcome.ALREADY_GRADED
        if until := self._wait_until(routed, record):
            missing = completeness.describe(completeness.missing(routed))
            self._record(study, Kind.WAITING, sources, reason=missing, until=until)
            return Outcome.WAITING

        graded = grade_routed(routed, self.archive, self.bundle, steps)
        uid = self._store(study, graded, observe)
        self.on_graded(graded)
        self._record(study, Kind.GRADED, sources, report=uid)
        return Outcome.GRADED

    def record_failure(
        self,
        study: str,
        sources: str,
        kind: Kind,
        *,
        code: str,
        reason: str,
        step: str,
        attempts: int,
    ) -> None:
        """Record why there will be no report of these images, unless there is one.

        A report of other models stays, and the record still names it.
        """
        record = self.records.read(study)
        if record and not record.is_about(sources):
            record = None
        if record and record.kind is Kind.GRADED and record.is_about(sources, self._models):
            return
        self._record(
            study,
            kind,
            sources,
            report=record and record.report,
            code=code,
            reason=reason,
            step=step,
            attempts=attempts,
        )

    @property
    def _models(self) -> str:
        return self.bundle.identity.sha256

    def _record(self, study: str, kind: Kind, sources: str, **details: object) -> None:
        record = Record.model_validate(
            {
                "kind": kind,
                "sources": sources,
                "bundle": self._models,
                "pipeline": PIPELINE_VERSION,
                "time": self.clock(),
                **details,
            }
        )
        self.records.write(study, record)

    def _report_about(self, study: str, routed: RoutedStudy, regrade: bool) -> _StoredReport | None:
        """A stored report about the routed images, whichever models and version wrote it."""
        expected = expected_sr_uid(routed, self.bundle.identity)
        if self._stored_report(study, expected) is not None:
            return _StoredReport(expected, self._models, PIPELINE_VERSION)
        current = None if regrade else current_report(routed.study.sources.values())
        if current is None:
            return None
        uid = str(current.SOPInstanceUID)
        try:
            report = self._stored_report(study, uid)
        except BrokenStudy:
            return None  # an older report that cannot be read: a new one replaces it
        if report is None:
            return None
        # The UID says which images a report is about, whichever models wrote it.
        by = report.bundle.sha256
        about = (report.study_instance_uid, fingerprint(routed), by)
        for version in range(1, PIPELINE_VERSION + 1):
            if uids.sr_instance_uid(*about, version) == uid:
                return _StoredReport(uid, by, version)
        return None

    def _store(self, study: str, graded: GradedStudy, observe: Observer) -> str:
        """Store the report and read it back; its SOP Instance UID."""
        observe("store")
        document = structured_report(graded)
        uid = str(document.SOPInstanceUID)
        self.archive.store(document)
        observe("read back")
        back = self._stored_report(study, uid)
        if back is None:
            raise ArchiveUnavailable(
                "the archive accepted the report but does not hold it: check for a filter or a "
                "full disk"
            )
        if not back.agrees_with(graded.report):
            # Another attempt would take this report for its result.
            raise BrokenStudy(
                f"the archive holds a different report with the SOP Instance UID {uid}; inspect "
                "it there"
            )
        return uid

    def _wait_until(self, routed: RoutedStudy, record: Record | None) -> datetime | None:
        """How long to wait for missing series, None if there is nothing to wait for.

        Raises `IncompleteStudy` if the wait is over and the site wants no partial report.
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
                f"{completeness.describe(missing)}, and none arrived in time; the study is graded "
                "when one arrives"
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
                f"the object {sop_instance_uid} in the archive is not the expected report; "
                f"delete it there, then run `lumbar failures replay {study}`"
            ) from error
