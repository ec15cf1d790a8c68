"""Any DICOMweb server as an archive: metadata first, whole objects after (DICOM PS3.18).

A study is its Study Instance UID. A key is `study/series/instance` in UIDs, which a server
wants to know all three. Checked against plugin 1.7 of Orthanc 1.10 (Debian 12).
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, Self, TypeVar

import pydicom
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset
from requests.exceptions import ChunkedEncodingError, ContentDecodingError, SSLError

from dicom_sr.attributes import integer, item, text, values
from worker.archive import HeldStudy
from worker.archive.answers import PARALLEL, dataset_of, error_of, in_parallel, odd_answer
from worker.archive.dicomweb_json import header_from_json
from worker.archive.dicomweb_session import Access, Session
from worker.domain.study import Instance, Unreadable
from worker.errors import ArchiveUnavailable, BadSettings, BrokenStudy, LumbarError, StudyGone
from worker.intake.decoding import guarded

# It logs headers of answers, and those may quote anything.
logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL)

_UID: Final = re.compile(r"(?=.{1,64}\Z)[0-9]+(\.[0-9]+)*")
_AS_STORED: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_BOUNDARY: Final = re.compile(r'boundary="?([^";,\s]+)', re.IGNORECASE)
_GONE: Final = (requests.codes.not_found, requests.codes.gone)
_MALFORMED: Final = (
    *(ValueError, LookupError, TypeError, AttributeError),
    SyntaxError,  # ElementTree's, of an answer in XML
    RecursionError,  # json's, of thousands of brackets
)
_ENTRY: Final = (
    "set LUMBAR_DICOMWEB_USERNAME and LUMBAR_DICOMWEB_PASSWORD, or LUMBAR_DICOMWEB_TOKEN or "
    "LUMBAR_DICOMWEB_TOKEN_FILE, to what it lets in"
)
_NO_UID: Final = (
    "the study's name is no Study Instance UID, and with LUMBAR_ARCHIVE=dicomweb messages must "
    "name studies by theirs"
)
_PAGE: Final = 500
_TLS: Final = (
    "look at LUMBAR_DICOMWEB_CA_FILE, LUMBAR_DICOMWEB_CLIENT_CERTIFICATE and "
    "LUMBAR_DICOMWEB_CLIENT_KEY"
)
_TLS_SETTINGS: Final = re.compile("CERT|X509|PEM|UNKNOWN_CA|WRONG_VERSION")
"""What is in OpenSSL's words where TLS is set up wrongly, and not in those for a broken line."""

# Failure Reason (0008,1197), PS3.18 table I.2-2 and PS3.4 table B.2-1.
_DUPLICATE: Final = 0x0111
_PROCESSING_FAILURE: Final = 0x0110
_OUT_OF_RESOURCES: Final = range(0xA700, 0xA800)

_NO_CREDENTIALS: Final = Access()
_T = TypeVar("_T")


class DicomwebArchive:
    """The `Archive` protocol on WADO-RS, QIDO-RS and STOW-RS; a study is its Study Instance UID.

    One pooled session serves all threads. Make it after a fork, never before.

    Every method raises `ArchiveUnavailable` when the server cannot be reached, is too slow,
    answers with a server error or as no DICOMweb server does, `BrokenStudy` when it refuses an
    object, and `BadSettings` when it lets nobody in, its certificate is not trusted, or it sends
    us elsewhere. That it is no DICOMweb server at all, `check` alone says.
    """

    def __init__(self, client: DICOMwebClient, session: Session, timeout_s: float) -> None:
        self._client = client
        self._session = session
        self._timeout_s = timeout_s
        self._server = f"the DICOMweb server at {client.base_url}"

    @classmethod
    def connect(
        cls, url: str, access: Access = _NO_CREDENTIALS, *, timeout_s: float = 30.0
    ) -> Self:
        """An archive on the server whose `studies` lie under this URL; sends nothing yet."""
        session = Session(access, connections=2 * PARALLEL)
        try:
            client = DICOMwebClient(
                url.rstrip("/"), session=session, permissive_uid=True, timeout=timeout_s
            )
        except ValueError:
            raise BadSettings(
                "set LUMBAR_DICOMWEB_URL to an address like https://pacs/rs"
            ) from None
        client.set_http_retry_params(retry=False)  # service/tasks.py tries again
        return cls(client, session, timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    def check(self) -> str:
        """What answers, in a word; raise BadSettings where it is no DICOMweb server."""
        try:
            found = self._ask(
                lambda: self._client.search_for_studies(limit=1), odd=self._not_dicomweb
            )
        except BrokenStudy as error:  # there is no study in this
            raise self._not_dicomweb(str(error)) from None
        if not isinstance(found, list):
            raise self._not_dicomweb("there is no search for studies")
        return "DICOMweb"

    def headers(self, study: str) -> Sequence[Instance | Unreadable]:
        """The headers of every object of the study in one request; raise `StudyGone`.

        Private, binary and bulk data are left out. An object without its own UIDs, or of
        another study, is Unreadable.
        """
        if not _UID.fullmatch(study):
            raise StudyGone(_NO_UID)
        metadata = self._ask(lambda: self._client.retrieve_study_metadata(study))
        if not metadata:
            raise StudyGone(f"{self._server} no longer holds the study {study}")
        if not isinstance(metadata, list):
            raise self._odd("the metadata are no list")
        return [_instance(study, f"{study}/{index}", found) for index, found in enumerate(metadata)]

    def fetch(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The whole objects with these keys as they are stored, four at a time, in any order."""
        return in_parallel(keys, self._file)

    def store(self, dataset: Dataset) -> None:
        """Store one object; whether the server really kept it, only `stored` tells."""
        # dicomweb-client would write an object without a preamble as no DICOM file.
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
        whole = pydicom.dcmread(io.BytesIO(buffer.getvalue()))
        answer = self._ask(lambda: self._stow(whole))
        if answer is None:
            raise self._odd("nothing can be stored")
        if not values(answer, "FailedSOPSequence"):
            return
        reason = integer(item(answer, "FailedSOPSequence"), "FailureReason") or 0
        if reason == _DUPLICATE:
            return
        said = f"{self._server} does not store an object (failure reason {reason:04X}H)"
        if reason == _PROCESSING_FAILURE or reason in _OUT_OF_RESOURCES:
            raise ArchiveUnavailable(said)
        raise BrokenStudy(f"{said}; its log says why")

    def stored(self, study: str, sop_instance_uid: str) -> Dataset | None:
        """The object with this SOP Instance UID in this study as the server gives it back."""
        if not _UID.fullmatch(study):
            return None
        wanted = {"SOPInstanceUID": sop_instance_uid}
        for match in self._found(
            lambda: self._client.search_for_instances(study, search_filters=wanted)
        ):
            series = text(match, "SeriesInstanceUID")
            # Servers may leave out a filter that they do not know.
            if text(match, "SOPInstanceUID") == sop_instance_uid and _UID.fullmatch(series):
                content = self._file(f"{study}/{series}/{sop_instance_uid}")
                return None if content is None else dataset_of(content, self._server)
        return None

    def study_id(self, name: str) -> str:
        """The name itself, which is a Study Instance UID; raise `StudyGone` for anything else."""
        if not _UID.fullmatch(name):
            raise StudyGone(_NO_UID)
        return name

    def studies(self) -> Iterator[HeldStudy]:
        """Every study that may hold MR, a page at a time; when each changed no server tells."""
        # Not asked for by ModalitiesInStudy: Orthanc applies that after the limit, but before
        # the offset, and would never give what lies behind the first page.
        fields = ["NumberOfStudyRelatedInstances", "ModalitiesInStudy"]
        search = partial(self._client.search_for_studies, fields=fields, limit=_PAGE)
        for match in self._everything(search, "StudyInstanceUID"):
            uid = text(match, "StudyInstanceUID")
            if _UID.fullmatch(uid) and set(values(match, "ModalitiesInStudy") or ["MR"]) & {
                "",
                "MR",
            }:
                yield HeldStudy(uid, version=text(match, "NumberOfStudyRelatedInstances"))

    def inventory(self, study: str) -> Sequence[str]:
        """`series/instance` of each MR image of the study, in UIDs."""
        if not _UID.fullmatch(study):
            return []
        series = partial(self._client.search_for_series, study, limit=_PAGE)
        instances = partial(self._client.search_for_instances, study, limit=_PAGE)
        others = {
            text(match, "SeriesInstanceUID")
            for match in self._everything(series, "SeriesInstanceUID")
            if text(match, "Modality") not in ("", "MR")
        }
        return [
            f"{text(match, 'SeriesInstanceUID')}/{text(match, 'SOPInstanceUID')}"
            for match in self._everything(instances, "SeriesInstanceUID", "SOPInstanceUID")
            if text(match, "SeriesInstanceUID") not in others
        ]

    def _everything(self, search: Callable[..., object], *names: str) -> Iterator[Dataset]:
        """The matches of a search, each once by the values under these names.

        A server may give fewer than were asked for, and more behind an offset (PS3.18 8.3.4.4);
        one that knows no offset gives the same for ever. So a page without news is the last.
        """
        seen: set[tuple[str, ...]] = set()
        offset = 0
        while True:
            page = self._found(partial(search, offset=offset))
            new = {tuple(text(match, name) for name in names): match for match in page}
            if new.keys() <= seen:
                return
            yield from (match for key, match in new.items() if key not in seen)
            seen |= new.keys()
            offset += len(page)

    def _found(self, search: Callable[[], object]) -> list[Dataset]:
        """The matches of a search; no answer is no match."""
        found = self._ask(search)
        if found is not None and not isinstance(found, list):
            raise self._odd("what it finds is no list")
        return [header_from_json(match) for match in found or ()]

    def _file(self, key: str) -> bytes | None:
        return self._ask(lambda: self._wado(key))

    def _wado(self, key: str) -> bytes:
        """One object by WADO-RS; dicomweb-client would parse it and lose what it cannot parse."""
        study, series, instance = key.split("/")
        response = self._session.request(
            "GET",
            f"{self._client.base_url}/studies/{study}/series/{series}/instances/{instance}",
            headers={"Accept": _AS_STORED},
            timeout=self._timeout_s,
        )
        response.raise_for_status()
        return _file_in(response.headers["Content-Type"], response.content)

    def _stow(self, dataset: Dataset) -> Dataset:
        try:
            return self._client.store_instances([dataset])
        except requests.HTTPError as error:
            # The one status of refusal whose body may say why (PS3.18 table 10.5.3-1).
            if error.response is not None and _status(error) == requests.codes.conflict:
                answer = header_from_json(guarded("", error.response.json))
                if values(answer, "FailedSOPSequence"):
                    return answer
            raise

    def _ask(
        self, ask: Callable[[], _T], odd: Callable[[str], LumbarError] | None = None
    ) -> _T | None:
        """The one place where an answer becomes a result, None for what is gone, or an error.

        `odd` makes that of an answer that no DICOMweb server gives. The errors stand alone:
        those of requests may quote what we sent.
        """
        odd = odd or self._odd
        try:
            return ask()
        except requests.HTTPError as error:
            status = _status(error)
            if status in _GONE:
                return None
            raise (
                error_of(status, self._server, _ENTRY) or odd(f"it answers HTTP {status}")
            ) from None
        except requests.Timeout as error:
            raise ArchiveUnavailable(
                f"{self._server} was too slow ({type(error).__name__}); "
                "if this repeats, raise LUMBAR_DICOMWEB_TIMEOUT_S"
            ) from None
        except (requests.ConnectionError, ChunkedEncodingError, ContentDecodingError) as error:
            if isinstance(error, SSLError) and _TLS_SETTINGS.search(str(error)):
                raise BadSettings(
                    f"{self._server} and we do not trust each other: {_TLS}"
                ) from None
            raise ArchiveUnavailable(
                f"{self._server} cannot be reached ({type(error).__name__})"
            ) from None
        except requests.TooManyRedirects:
            raise self._not_dicomweb("it sends us to another address") from None
        except _MALFORMED:
            raise odd("its answer is not one of DICOMweb") from None
        except OSError:
            raise BadSettings(f"a certificate file cannot be read: {_TLS}") from None

    def _odd(self, why: str) -> ArchiveUnavailable:
        return odd_answer(self._server, why, "LUMBAR_DICOMWEB_URL")

    def _not_dicomweb(self, why: str) -> BadSettings:
        return BadSettings(
            "set LUMBAR_DICOMWEB_URL to the address under which `studies` lie; "
            f"at {self._client.base_url}, {why}"
        )


def _instance(study: str, key: str, found: object) -> Instance | Unreadable:
    header = header_from_json(found)
    uids = [text(header, f"{level}InstanceUID") for level in ("Study", "Series", "SOP")]
    if uids[0] != study or not all(map(_UID.fullmatch, uids)):
        return Unreadable(key, "WrongUIDs")
    return Instance("/".join(uids), header)


def _status(error: requests.HTTPError) -> int:
    return 0 if error.response is None else error.response.status_code


def _file_in(media_type: str, body: bytes) -> bytes:
    """The file in an answer, which is its only part or, against the standard, all of it."""
    if media_type.partition(";")[0].strip().lower() == "application/dicom":
        return body
    found = _BOUNDARY.search(media_type)
    if found is None:
        raise ValueError("neither a DICOM file nor several parts")
    delimiter = b"--" + found[1].encode()
    start = body.index(b"\r\n\r\n", body.index(delimiter)) + 4
    end = body.find(b"\r\n" + delimiter, start)
    if end < 0:
        raise ChunkedEncodingError("the last boundary is missing")
    return body[start:end]
