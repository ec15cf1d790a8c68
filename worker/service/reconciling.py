"""What the archive holds against what became of it: finds every study that no message told of.

An Orthanc that restarts forgets which studies were about to become stable, a wiped Redis
forgets its queue, a message can be lost in a hundred ways. What the archive holds and what
the records say is all that counts here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from worker.archive import HeldStudy, Hospital
from worker.errors import LumbarError, StudyGone
from worker.service.records import Kind, Record, Records, now, pass_over, sources_of, warn_of

_MEMORY: Final = timedelta(hours=1)
"""How long a study counts as settled without being looked at: no list tells of a report that was
deleted, nor of a record that was taken away."""


class Why(StrEnum):
    """Why a study is owed a grading."""

    UNKNOWN = "nothing is known of it"
    CHANGED = "images came or went since it was looked at"
    OTHER_MODELS = "other models graded it"
    WAITED = "it has waited long enough for missing series"
    REPORT_DELETED = "its report was deleted"


@dataclass(frozen=True)
class Owed:
    """A study that is owed a grading, and why."""

    study: str
    why: Why
    changed: datetime | None = None


class Reconciler:
    """Compares an archive with its records, and remembers what it found settled."""

    def __init__(
        self, archive: Hospital, records: Records, clock: Callable[[], datetime] = now
    ) -> None:
        self._archive = archive
        self._records = records
        self._clock = clock
        self._settled: dict[str, str] = {}
        self._settled_since = clock()
        self._seen: dict[str, str] = {}

    def owed(
        self,
        *,
        since: datetime | None = None,
        quiet: timedelta = timedelta(0),
        bundle: str | None = None,
        one_pass: bool = False,
        looked: Callable[[HeldStudy], None] = lambda _: None,
        settled: Callable[[str, Record], None] = lambda *_: None,
        passed_over: Callable[[str, LumbarError], None] = warn_of,
    ) -> Iterator[Owed]:
        """The studies with images that no record speaks of.

        Left out are those that still arrive, changed within the `quiet` time, or changed
        last before `since`, unless they have waited long enough for missing series. With
        `bundle` (a SHA-256) a report of other models does not count. Where the archive does not
        say whether a study still arrives, one that looks the same in two passes does not;
        `one_pass` takes each for complete. `looked` is called with every study, `settled` with
        the record of each that is owed nothing, once for each change of the study, `passed_over`
        with each that cannot be looked at while the archive is well otherwise.

        Raises `ArchiveUnavailable` or `BadSettings` where the archive is not well, and
        `redis.RedisError`.
        """
        if not timedelta(0) <= self._clock() - self._settled_since < _MEMORY:
            self._settled, self._settled_since = {}, self._clock()
        waited = self._records.waited(self._clock())
        listed = set()
        for held in self._archive.studies():
            listed.add(held.study)
            looked(held)
            begin = None if held.study in waited else since
            if self._arrives(held, one_pass) or not self._within(held, begin, quiet):
                continue
            if bundle is None and self._settled.get(held.study) == held.version:
                continue
            try:
                record = self._records.read(held.study)
                why = self._why(held, record, bundle)
            except StudyGone:
                continue
            except LumbarError as error:
                pass_over(self._archive, held.study, error, passed_over)
                continue
            if why:
                yield Owed(held.study, why, held.changed)
            elif record is not None:
                settled(held.study, record)
        # A study that is deleted and sent again is a new one, even if it looks the same.
        for known in (self._settled, self._seen):
            for study in known.keys() - listed:
                del known[study]

    def _arrives(self, held: HeldStudy, one_pass: bool) -> bool:
        if held.stable is not None:
            return not held.stable
        before = self._seen.get(held.study)
        self._seen[held.study] = held.version
        return before != held.version and not one_pass

    def _within(self, held: HeldStudy, since: datetime | None, quiet: timedelta) -> bool:
        if held.changed is None:
            return True
        if since is not None and held.changed < since:
            return False
        age = self._clock() - held.changed
        # A clock that was set back is no reason to wait until it has caught up.
        return age >= quiet or age < timedelta(0)

    def _why(self, held: HeldStudy, record: Record | None, bundle: str | None) -> Why | None:
        """Why a study is owed a grading, None where it is settled."""
        study = held.study
        inventory = self._archive.inventory(study)
        if not inventory:
            why = None
        elif record is None:
            why = Why.UNKNOWN
        elif not record.about(sources_of(inventory)):
            why = Why.CHANGED
        elif record.kind is Kind.GRADED and bundle not in (None, record.bundle):
            why = Why.OTHER_MODELS
        elif not record.stands(self._clock()):
            why = Why.WAITED
        elif not record.report_is_in(self._archive, study):
            why = Why.REPORT_DELETED
        else:
            why = None
        # Waiting ends by itself; a dead letter's record is read again for the index, which a
        # wiped Redis has lost.
        if why is None and not (record and record.kind in (Kind.WAITING, Kind.FAILED)):
            self._settled[study] = held.version
        return why
