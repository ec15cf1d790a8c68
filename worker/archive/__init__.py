"""Where studies come from and reports go: the `Archive` protocol; adapters beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydicom import Dataset

from worker.domain.study import Instance, Unreadable


class Archive(Protocol):
    """A place that holds studies.

    `study` is whatever the archive calls a study: a path for a folder, an Orthanc id, a
    Study Instance UID for DICOMweb. Every method may raise `ArchiveUnavailable`.
    """

    def headers(self, study: str) -> Sequence[Instance | Unreadable]:
        """The headers of every object of the study, without pixels; raise `StudyGone`."""
        ...

    def fetch(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The whole objects with these keys as DICOM files, in parallel and in any order.

        A key whose object has gone meanwhile is left out.
        """
        ...

    def store(self, dataset: Dataset) -> None:
        """Store one object; storing one that is already there changes nothing."""
        ...

    def stored(self, study: str, sop_instance_uid: str) -> Dataset | None:
        """The object with this SOP Instance UID as the archive gives it back, or None."""
        ...


@dataclass(frozen=True)
class HeldStudy:
    """A study as the archive lists it.

    `version` differs after every change. `changed` is when that was, with its time zone, and
    `stable` is false while the study still arrives; None where the archive does not tell.
    """

    study: str
    version: str
    changed: datetime | None = None
    stable: bool | None = None


class Hospital(Archive, Protocol):
    """An archive that a service lives beside: it lists what it holds."""

    def check(self) -> str:
        """What answers, in a word; raise `BadSettings` where it is no archive of this kind."""
        ...

    def study_id(self, name: str) -> str:
        """The archive's name for a study; raise `StudyGone` where it holds none."""
        ...

    def studies(self) -> Iterator[HeldStudy]:
        """Every study that may hold MR, a page at a time."""
        ...

    def inventory(self, study: str) -> Sequence[str]:
        """A name for each MR image of the study, ours and other reports left out, in any order.

        Images of series that name no modality count as MR. Empty where the study is gone.
        """
        ...
