"""Compares the archive with the records, and finds every study that no message announced.

Orthanc that restarts forgets which studies were about to become stable, Redis may lose its data
or be unavailable when a study arrives. What the archive holds and what the records say is enough
to find all studies that need grading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from worker.archive import SearchableArchive, StudyEntry
from worker.errors import LumbarError, StudyGone
from worker.service.record_store import RecordStore, log_skipped, skip_study
from worker.service.records import Kind, Record, now, sources_of

_RECHECK: Final = timedelta(hours=1)
"""How long a settled study is not read again: no listing shows a deleted report or record."""


class PendingReason(StrEnum):
    """Why a study needs grading."""

    NO_REPORT = "has no report yet"
    CHANGED = "images were added or deleted"
    OTHER_MODELS = "graded by other models or an earlier version"
    WAIT_OVER = "waited long enough for missing series"
    REPORT_DELETED = "its report was deleted"


@dataclass(frozen=True)
class PendingStudy:
    """A study that needs grading, and why."""

    study: str
    reason: PendingReason
    changed: datetime | None = None


class Reconciler:
    """Compares an archive with its records, and remembers which studies are settled."""

    def __init__(
        self,
        archive: SearchableArchive,
        records: RecordStore,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._archive = archive
        self._records = records
        self._clock = clock
        self._settled: dict[str, str] = {}
        self._settled_since = clock()
        self._versions: dict[str, str] = {}

    def pending(
        self,
        *,
        since: datetime | None = None,
        quiet: timedelta = timedelta(0),
        bundle: str | None = None,
        one_pass: bool = False,
        on_study: Callable[[StudyEntry], None] = lambda _: None,
        on_settled: Callable[[str, Record], None] = lambda *_: None,
        on_skipped: Callable[[str, LumbarError], None] = log_skipped,
    ) -> Iterator[PendingStudy]:
        """The studies with images that no record is about.

        Not included: studies that still arrive, changed within the `quiet` time, or changed last
        before `since`, unless they have waited long enough for missing series. With `bundle` (a
        SHA-256) a report of other models does not count. If the archive does not say whether a
        study still arrives, it does until two passes see it unchanged; `one_pass` takes each for
        complete. `on_study` is called with every study, `on_settled` with the record of each
        that needs no grading, once for each change of the study, `on_skipped` with each whose
        data cannot be read while the archive works otherwise.

        Raises `ArchiveUnavailable` or `BadSettings` if the archive does not work, and
        `redis.RedisError`.
        """
        if not timedelta(0) <= self._clock() - self._settled_since < _RECHECK:
            self._settled, self._settled_since = {}, self._clock()
        wait_is_over = self._records.wait_is_over(self._clock())
        listed = set()
        for entry in self._archive.studies():
            listed.add(entry.study)
            on_study(entry)
            begin = None if entry.study in wait_is_over else since
            if self._arrives(entry, one_pass) or not self._within(entry, begin, quiet):
                continue
            if bundle is None and self._settled.get(entry.study) == entry.version:
                continue
            try:
                record = self._records.read(entry.study)
                reason = self._reason(entry, record, bundle)
            except StudyGone:
                continue
            except LumbarError as error:
                skip_study(self._archive, entry.study, error, on_skipped)
                continue
            if reason:
                yield PendingStudy(entry.study, reason, entry.changed)
            elif record is not None:
                on_settled(entry.study, record)
        # A study that is deleted and sent again is a new one, even if it looks the same.
        for known in (self._settled, self._versions):
            for study in known.keys() - listed:
                del known[study]

    def _arrives(self, entry: StudyEntry, one_pass: bool) -> bool:
        if entry.stable is not None:
            return not entry.stable
        before = self._versions.get(entry.study)
        self._versions[entry.study] = entry.version
        return before != entry.version and not one_pass

    def _within(self, entry: StudyEntry, since: datetime | None, quiet: timedelta) -> bool:
        if entry.changed is None:
            return True
        if since is not None and entry.changed < since:
            return False
        age = self._clock() - entry.changed
        # If the clock was set back, do not wait until it has caught up.
        return age >= quiet or age < timedelta(0)

    def _reason(
        self, entry: StudyEntry, record: Record | None, bundle: str | None
    ) -> PendingReason | None:
        """Why a study needs grading, None if it does not."""
        study = entry.study
        inventory = self._archive.inventory(study)
        if not inventory:
            reason = None
        elif record is None:
            reason = PendingReason.NO_REPORT
        elif not record.is_about(sources_of(inventory)):
            reason = PendingReason.CHANGED
        elif record.kind is Kind.GRADED and bundle is not None and not record.is_by(bundle):
            reason = PendingReason.OTHER_MODELS
        elif not record.is_final(self._clock()):
            reason = PendingReason.WAIT_OVER
        elif not record.report_exists(self._archive, study):
            reason = PendingReason.REPORT_DELETED
        else:
            reason = None
        # A wait ends by itself. The record of a dead letter is read in every pass for the index,
        # which Redis may have lost.
        if reason is None and not (record and record.kind in (Kind.WAITING, Kind.FAILED)):
            self._settled[study] = entry.version
        return reason
