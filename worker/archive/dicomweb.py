"""Any DICOMweb server as an archive: metadata first, whole objects later (DICOM PS3.18).

A study is its Study Instance UID. A key is `study/series/instance` in UIDs: a request for an
object needs all three. Tested with plugin 1.7 of Orthanc 1.10 (Debian 12).
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, Self

import pydicom
from pydicom import Dataset

from dicom_sr.attributes import integer, item, text, values
from worker.archive import StudyEntry
from worker.archive.dicomweb_json import header_from_json
from worker.archive.dicomweb_requests import DicomwebRequests
from worker.archive.dicomweb_session import Access
from worker.archive.http import fetch_parallel, parse_dataset
from worker.domain.study import Instance, Unreadable
from worker.errors import ArchiveUnavailable, BrokenStudy, StudyGone

_UID: Final = re.compile(r"(?=.{1,64}\Z)[0-9]+(\.[0-9]+)*")
_NO_UID: Final = (
    "the study's name is not a Study Instance UID; with LUMBAR_ARCHIVE=dicomweb messages must "
    "contain Study Instance UIDs"
)
_PAGE: Final = 500

# Failure Reason (0008,1197), PS3.18 table I.2-2 and PS3.4 table B.2-1.
_DUPLICATE: Final = 0x0111
_PROCESSING_FAILURE: Final = 0x0110
_OUT_OF_RESOURCES: Final = range(0xA700, 0xA800)

_NO_CREDENTIALS: Final = Access()


class DicomwebArchive:
    """A `SearchableArchive` on WADO-RS, QIDO-RS and STOW-RS.

    One pooled session serves all threads. Create it after a fork, never before.

    Every method raises `ArchiveUnavailable` if the server cannot be reached, does not respond
    in time, responds with a server error or as no DICOMweb server does, `BrokenStudy` if it
    refuses an object, and `BadSettings` if authentication or certificate verification fails or
    it redirects. Only `check` finds that the URL is not a DICOMweb server's.
    """

    def __init__(self, requests: DicomwebRequests) -> None:
        self._requests = requests
        self._client = requests.client

    @classmethod
    def connect(
        cls, url: str, access: Access = _NO_CREDENTIALS, *, timeout_s: float = 30.0
    ) -> Self:
        """An archive on the server with this base URL; does not connect yet."""
        return cls(DicomwebRequests.connect(url, access, timeout_s=timeout_s))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the pooled connections."""
        self._requests.close()

    def check(self) -> str:
        """The kind of the server; raise BadSettings if it is no DICOMweb server."""
        not_dicomweb = self._requests.not_dicomweb
        try:
            found = self._requests.ask(
                lambda: self._client.search_for_studies(limit=1), unexpected=not_dicomweb
            )
        except BrokenStudy as error:  # the request concerns no study
            raise not_dicomweb(str(error)) from None
        if not isinstance(found, list):
            raise not_dicomweb("it has no search for studies")
        return "DICOMweb"

    def headers(self, study: str) -> Sequence[Instance | Unreadable]:
        """The headers of every object of the study in one request; raise `StudyGone`.

        Private, binary and bulk data are left out. An object without its own UIDs, or of
        another study, is Unreadable.
        """
        if not _UID.fullmatch(study):
            raise StudyGone(_NO_UID)
        metadata = self._requests.ask(lambda: self._client.retrieve_study_metadata(study))
        if not metadata:
            raise StudyGone(f"{self._requests.server} no longer holds the study {study}")
        if not isinstance(metadata, list):
            raise self._requests.unexpected("the metadata are not a list")
        return [_instance(study, f"{study}/{index}", found) for index, found in enumerate(metadata)]

    def fetch(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The whole objects with these keys as they are stored, four at a time, in any order."""
        return fetch_parallel(keys, self._requests.file)

    def store(self, dataset: Dataset) -> None:
        """Store one object; only `stored` shows whether the server kept it."""
        # dicomweb-client would not write the file's preamble.
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
        whole = pydicom.dcmread(io.BytesIO(buffer.getvalue()))
        response = self._requests.store(whole)
        if response is None:
            raise self._requests.unexpected("it has no service to store objects")
        if not values(response, "FailedSOPSequence"):
            return
        reason = integer(item(response, "FailedSOPSequence"), "FailureReason") or 0
        if reason == _DUPLICATE:
            return
        message = f"{self._requests.server} did not store an object (failure reason {reason:04X}H)"
        if reason == _PROCESSING_FAILURE or reason in _OUT_OF_RESOURCES:
            raise ArchiveUnavailable(message)
        raise BrokenStudy(f"{message}; see its log")

    def stored(self, study: str, sop_instance_uid: str) -> Dataset | None:
        """The object with this SOP Instance UID in this study as the server returns it."""
        if not _UID.fullmatch(study):
            return None
        filters = {"SOPInstanceUID": sop_instance_uid}
        for match in self._search(
            lambda: self._client.search_for_instances(study, search_filters=filters)
        ):
            series = text(match, "SeriesInstanceUID")
            # Servers may ignore a filter that they do not support.
            if text(match, "SOPInstanceUID") == sop_instance_uid and _UID.fullmatch(series):
                content = self._requests.file(f"{study}/{series}/{sop_instance_uid}")
                return None if content is None else parse_dataset(content, self._requests.server)
        return None

    def study_id(self, name: str) -> str:
        """The name itself, which is a Study Instance UID; raise `StudyGone` for anything else."""
        if not _UID.fullmatch(name):
            raise StudyGone(_NO_UID)
        return name

    def studies(self) -> Iterator[StudyEntry]:
        """Every study that may hold MR, a page at a time; DICOMweb has no time of change."""
        # Without a filter by ModalitiesInStudy: Orthanc applies that after the limit, but before
        # the offset, and would never return what is behind the first page.
        fields = ["NumberOfStudyRelatedInstances", "ModalitiesInStudy"]
        search = partial(self._client.search_for_studies, fields=fields, limit=_PAGE)
        for match in self._search_all(search, "StudyInstanceUID"):
            uid = text(match, "StudyInstanceUID")
            modalities = set(values(match, "ModalitiesInStudy") or ["MR"])
            if _UID.fullmatch(uid) and modalities & {"", "MR"}:
                yield StudyEntry(uid, version=text(match, "NumberOfStudyRelatedInstances"))

    def inventory(self, study: str) -> Sequence[str]:
        """`series/instance` of each MR image of the study, in UIDs."""
        if not _UID.fullmatch(study):
            return []
        series = partial(self._client.search_for_series, study, limit=_PAGE)
        instances = partial(self._client.search_for_instances, study, limit=_PAGE)
        others = {
            text(match, "SeriesInstanceUID")
            for match in self._search_all(series, "SeriesInstanceUID")
            if text(match, "Modality") not in ("", "MR")
        }
        return [
            f"{text(match, 'SeriesInstanceUID')}/{text(match, 'SOPInstanceUID')}"
            for match in self._search_all(instances, "SeriesInstanceUID", "SOPInstanceUID")
            if text(match, "SeriesInstanceUID") not in others
        ]

    def _search_all(self, search: Callable[..., object], *keywords: str) -> Iterator[Dataset]:
        """All matches of a search, each once by the values of these keywords.

        A server may return fewer than the limit, and more behind an offset (PS3.18 8.3.4.4); one
        that does not support the offset repeats itself. So a page without a new match is the
        last.
        """
        seen: set[tuple[str, ...]] = set()
        offset = 0
        while True:
            page = self._search(partial(search, offset=offset))
            new = {tuple(text(match, keyword) for keyword in keywords): match for match in page}
            if new.keys() <= seen:
                return
            yield from (match for key, match in new.items() if key not in seen)
            seen |= new.keys()
            offset += len(page)

    def _search(self, search: Callable[[], object]) -> list[Dataset]:
        """The matches of a search; none without a response."""
        found = self._requests.ask(search)
        if found is not None and not isinstance(found, list):
            raise self._requests.unexpected("the matches are not a list")
        return [header_from_json(match) for match in found or ()]


def _instance(study: str, key: str, attributes: object) -> Instance | Unreadable:
    header = header_from_json(attributes)
    uids = [text(header, f"{level}InstanceUID") for level in ("Study", "Series", "SOP")]
    if uids[0] != study or not all(map(_UID.fullmatch, uids)):
        return Unreadable(key, "WrongUIDs")
    return Instance("/".join(uids), header)
