"""Where studies come from and reports go: the `Archive` protocol and the capabilities beyond it.

The adapters are beside it. Callers ask for a capability, never for an adapter's class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from pydicom import Dataset

from worker.domain.study import Instance, Unreadable


class Archive(Protocol):
    """A place that holds studies.

    `study` is what the archive calls a study: a path for a folder, an Orthanc id, a Study
    Instance UID for DICOMweb. Every method may raise `ArchiveUnavailable`.
    """

    def headers(self, study: str) -> Sequence[Instance | Unreadable]:
        """The headers of every object of the study, without pixels; raise `StudyGone`."""
        ...

    def fetch(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The whole objects with these keys as DICOM files, in parallel and in any order.

        A key whose object was deleted meanwhile is left out.
        """
        ...

    def store(self, dataset: Dataset) -> None:
        """Store one object; storing one that is already there changes nothing."""
        ...

    def stored(self, study: str, sop_instance_uid: str) -> Dataset | None:
        """The object with this SOP Instance UID as the archive returns it, or None."""
        ...


@dataclass(frozen=True)
class StudyEntry:
    """A study as the archive lists it.

    `version` differs after every change. `changed` is the time of the last one, with its time
    zone, and `stable` is false while the study still arrives; None if the archive does not say.
    """

    study: str
    version: str
    changed: datetime | None = None
    stable: bool | None = None


class SearchableArchive(Archive, Protocol):
    """An archive that lists its studies."""

    def check(self) -> str:
        """The name of the server; raise `BadSettings` if it is no archive of this kind."""
        ...

    def study_id(self, name: str) -> str:
        """The archive's name for a study; raise `StudyGone` if it holds none."""
        ...

    def studies(self) -> Iterator[StudyEntry]:
        """Every study that may hold MR, a page at a time."""
        ...

    def inventory(self, study: str) -> Sequence[str]:
        """A name for each MR image of the study, without reports, in any order.

        Images of series without a modality count as MR. Empty if the study is gone.
        """
        ...


@runtime_checkable
class StoresMetadata(Protocol):
    """A store of one text with each study."""

    def read_metadata(self, study: str) -> str | None:
        """The text, or None."""
        ...

    def write_metadata(self, study: str, text: str | None) -> None:
        """Store a text; None deletes it. May raise `StudyGone`."""
        ...


@runtime_checkable
class Forwards(Protocol):
    """An archive that sends objects to other servers."""

    def forward(self, study: str, sop_instance_uid: str, destination: str) -> None:
        """Send one object to a destination that the archive knows by name, and wait for the end.

        Raises `ArchiveUnavailable` if it did not arrive, `StudyGone` if the archive no longer
        holds the object, and `BadSettings` if it knows no such destination.
        """
        ...
