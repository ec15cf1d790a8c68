"""Requests to a DICOMweb server, with the errors of the error tree."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Final, Self, TypeVar

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset
from requests.exceptions import ChunkedEncodingError, ContentDecodingError, SSLError

from dicom_sr.attributes import values
from worker.archive.dicomweb_json import header_from_json
from worker.archive.dicomweb_session import Access, Session
from worker.archive.http import PARALLEL, error_for_status, unexpected_response
from worker.errors import ArchiveUnavailable, BadSettings, LumbarError
from worker.intake.decoding import guarded

# It logs headers of responses, and those may quote anything.
logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL)

_AS_STORED: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_BOUNDARY: Final = re.compile(r'boundary="?([^";,\s]+)', re.IGNORECASE)
_GONE: Final = (requests.codes.not_found, requests.codes.gone)
_MALFORMED: Final = (
    *(ValueError, LookupError, TypeError, AttributeError),
    SyntaxError,  # ElementTree's, of a response in XML
    RecursionError,  # json's, of thousands of brackets
)
_CREDENTIALS: Final = (
    "set LUMBAR_DICOMWEB_USERNAME and LUMBAR_DICOMWEB_PASSWORD, or LUMBAR_DICOMWEB_TOKEN or "
    "LUMBAR_DICOMWEB_TOKEN_FILE"
)
_TLS: Final = (
    "check LUMBAR_DICOMWEB_CA_FILE, LUMBAR_DICOMWEB_CLIENT_CERTIFICATE and "
    "LUMBAR_DICOMWEB_CLIENT_KEY"
)
_TLS_SETTINGS: Final = re.compile("CERT|X509|PEM|UNKNOWN_CA|WRONG_VERSION")
"""In OpenSSL's messages about a wrong TLS setup, not in those about a lost connection."""
_T = TypeVar("_T")


class DicomwebRequests:
    """A DICOMweb client whose requests raise errors of the error tree.

    One pooled session serves all threads. Create it after a fork, never before.
    """

    def __init__(self, client: DICOMwebClient, session: Session, timeout_s: float) -> None:
        self.client = client
        self.server = f"the DICOMweb server at {client.base_url}"
        self._session = session
        self._timeout_s = timeout_s

    @classmethod
    def connect(cls, url: str, access: Access, *, timeout_s: float) -> Self:
        """A client of the server with this base URL; does not connect yet."""
        session = Session(access, connections=2 * PARALLEL)
        try:
            client = DICOMwebClient(
                url.rstrip("/"), session=session, permissive_uid=True, timeout=timeout_s
            )
        except ValueError:
            raise BadSettings("set LUMBAR_DICOMWEB_URL to a URL like https://pacs/rs") from None
        client.set_http_retry_params(retry=False)  # service/tasks.py retries
        return cls(client, session, timeout_s)

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    def ask(
        self, request: Callable[[], _T], unexpected: Callable[[str], LumbarError] | None = None
    ) -> _T | None:
        """The result of a request, None for HTTP 404 and 410.

        `unexpected` makes the error of a response that no DICOMweb server sends. Errors have no
        cause: those of requests may quote the request.
        """
        unexpected = unexpected or self.unexpected
        try:
            return request()
        except requests.HTTPError as error:
            status = _status(error)
            if status in _GONE:
                return None
            raise (
                error_for_status(status, self.server, _CREDENTIALS) or unexpected(f"HTTP {status}")
            ) from None
        except requests.Timeout as error:
            raise ArchiveUnavailable(
                f"{self.server}: no response within {self._timeout_s:g} s "
                f"({type(error).__name__}); if this repeats, raise LUMBAR_DICOMWEB_TIMEOUT_S"
            ) from None
        except (requests.ConnectionError, ChunkedEncodingError, ContentDecodingError) as error:
            if isinstance(error, SSLError) and _TLS_SETTINGS.search(str(error)):
                raise BadSettings(
                    f"{self.server}: TLS certificate verification failed; {_TLS}"
                ) from None
            raise ArchiveUnavailable(
                f"{self.server}: connection failed ({type(error).__name__})"
            ) from None
        except requests.TooManyRedirects:
            raise self.not_dicomweb("the response is a redirect") from None
        except _MALFORMED:
            raise unexpected("not a DICOMweb response") from None
        except OSError:
            raise BadSettings(f"a certificate file cannot be read; {_TLS}") from None

    def file(self, key: str) -> bytes | None:
        """The object with this key, `study/series/instance`, as it is stored."""
        return self.ask(lambda: self._wado(key))

    def store(self, dataset: Dataset) -> Dataset | None:
        """Store one object by STOW-RS; return the response, which may list failures."""
        return self.ask(lambda: self._stow(dataset))

    def unexpected(self, reason: str) -> ArchiveUnavailable:
        """The error of a response that no DICOMweb server sends."""
        return unexpected_response(self.server, reason, "LUMBAR_DICOMWEB_URL")

    def not_dicomweb(self, reason: str) -> BadSettings:
        """The error of a URL that is not a DICOMweb server's."""
        return BadSettings(
            "set LUMBAR_DICOMWEB_URL to the base URL of a DICOMweb server, that of its `studies`; "
            f"{self.client.base_url}: {reason}"
        )

    def _wado(self, key: str) -> bytes:
        """One object by WADO-RS; dicomweb-client would parse it and lose what it cannot parse."""
        study, series, instance = key.split("/")
        response = self._session.request(
            "GET",
            f"{self.client.base_url}/studies/{study}/series/{series}/instances/{instance}",
            headers={"Accept": _AS_STORED},
            timeout=self._timeout_s,
        )
        response.raise_for_status()
        return _file_in(response.headers["Content-Type"], response.content)

    def _stow(self, dataset: Dataset) -> Dataset:
        try:
            return self.client.store_instances([dataset])
        except requests.HTTPError as error:
            # The one status of refusal whose body may say why (PS3.18 table 10.5.3-1).
            if error.response is not None and _status(error) == requests.codes.conflict:
                answer = header_from_json(guarded("", error.response.json))
                if values(answer, "FailedSOPSequence"):
                    return answer
            raise


def _status(error: requests.HTTPError) -> int:
    return 0 if error.response is None else error.response.status_code


def _file_in(media_type: str, body: bytes) -> bytes:
    """The file in a response: its only part or, against the standard, the whole body."""
    if media_type.partition(";")[0].strip().lower() == "application/dicom":
        return body
    match = _BOUNDARY.search(media_type)
    if match is None:
        raise ValueError("neither a DICOM file nor multipart")
    delimiter = b"--" + match[1].encode()
    start = body.index(b"\r\n\r\n", body.index(delimiter)) + 4
    end = body.find(b"\r\n" + delimiter, start)
    if end < 0:
        raise ChunkedEncodingError("the last boundary is missing")
    return body[start:end]
