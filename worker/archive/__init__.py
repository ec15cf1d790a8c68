"""Where studies come from and reports go: the `Archive` protocol; adapters beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from pydicom import Dataset

from worker.nouns.study import Instance, Unreadable


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
