"""Orthanc as an archive: few requests for the headers, parallel ones for the pixels.

Keys are Orthanc's own instance ids. They are hashes of patient, study, series and SOP
Instance UID together, so that instances which repeat a SOP Instance UID in two series
stay apart. Checked against Orthanc 1.10.1 (Debian 12).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Final, Self, cast

import httpx
import pydicom
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pyorthanc import Orthanc

from worker.archive.orthanc_tags import header_from_tags
from worker.errors import ArchiveUnavailable, BadSettings, BrokenStudy, StudyGone
from worker.nouns.study import Instance, Unreadable

_PARALLEL: Final = 4
_LOT: Final = 32
_KEEPALIVE_S: Final = 0.8  # Orthanc closes idle connections after 1 s; be the first to let go.
_BUSY: Final = (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS)
_REFUSED: Final = (
    httpx.codes.BAD_REQUEST,
    httpx.codes.CONFLICT,
    httpx.codes.REQUEST_ENTITY_TOO_LARGE,
    httpx.codes.UNPROCESSABLE_ENTITY,
)
_NO_ENTRY: Final = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)


class OrthancArchive:
    """The `Archive` protocol on Orthanc's REST API; a study is its Orthanc id.

    One pooled client serves all threads. Make it after a fork, never before.

    Every method raises `ArchiveUnavailable` when Orthanc cannot be reached, is too slow
    or answers with a server error, `BrokenStudy` when
    it refuses an object, and `BadSettings` when it lets nobody in or is not
    Orthanc.
    """

    def __init__(self, client: Orthanc) -> None:
        client.return_raw_response = True
        self._client = client

    @classmethod
    def connect(
        cls,
        url: str,
        username: str | None = None,
        password: str | None = None,
        *,
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> Self:
        """An archive on the Orthanc at this URL; sends nothing yet."""
        limits = httpx.Limits(max_connections=2 * _PARALLEL, keepalive_expiry=_KEEPALIVE_S)
        transport = transport or httpx.HTTPTransport(limits=limits, retries=1)
        auth = (username, password or "") if username else None
        # Asked for gzip, Orthanc compresses every DICOM file and takes four times as long.
        headers = {"Accept-Encoding": "identity"}
        return cls(
            Orthanc(
                url.rstrip("/"),
                timeout=timeout_s,
                transport=transport,
                auth=auth,
                headers=headers,
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()

    def check(self) -> str:
        """Orthanc's version; raise BadSettings where something else answers at this URL."""
        system = self._json("GET", "/system")
        if not isinstance(system, dict) or "Version" not in system or "DicomAet" not in system:
            raise self._not_orthanc("its /system is not Orthanc's")
        return str(system["Version"])

    def headers(self, study: str) -> Sequence[Instance | Unreadable]:
        """The headers of every object of the study in one request; raise `StudyGone`.

        Private attributes, binary values and values over 256 characters are left out:
        Orthanc does not give them in this form.
        """
        tags = self._json("GET", f"/studies/{study}/instances-tags", params={"short": ""})
        if tags is None:
            raise StudyGone(f"Orthanc no longer holds the study {study}")
        if not isinstance(tags, dict):
            raise self._not_orthanc("its list of tags is not Orthanc's")
        return [_instance(key, values) for key, values in sorted(tags.items())]

    def fetch(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The whole objects with these keys, four at a time and in any order."""
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="fetch") as pool:
            try:
                # In lots, so that no more than one lot of files waits for a slow decoder.
                for start in range(0, len(keys), _LOT):
                    lot = [pool.submit(self._file, key) for key in keys[start : start + _LOT]]
                    # as_completed lets go of every future it yields, and so of its bytes.
                    for done in as_completed(lot):
                        key, content = done.result()
                        if content is not None:
                            yield key, content
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def store(self, dataset: Dataset) -> None:
        """Store one object; whether Orthanc really kept it, only `stored` tells."""
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
        self._send("POST", "/instances", content=buffer.getvalue())

    def stored(self, study: str, sop_instance_uid: str) -> Dataset | None:
        """The object with this SOP Instance UID in this study as Orthanc gives it back."""
        found = self._json("POST", "/tools/lookup", content=sop_instance_uid)
        for match in found or ():
            if match["Type"] != "Instance":
                continue
            parent = self._json("GET", f"/instances/{match['ID']}/study")
            if parent is None or parent["ID"] != study:
                continue
            _, content = self._file(match["ID"])
            if content is not None:
                return _read(content)
        return None

    def _file(self, key: str) -> tuple[str, bytes | None]:
        response = self._send("GET", f"/instances/{key}/file")
        return key, None if response is None else response.content

    def _json(
        self,
        method: str,
        route: str,
        *,
        params: dict[str, str] | None = None,
        content: str | None = None,
    ) -> Any:  # noqa: ANN401 - JSON has no narrower type
        """The decoded answer, or None where Orthanc has no such thing."""
        response = self._send(method, route, params=params, content=content)
        if response is None:
            return None
        try:
            return response.json()
        except json.JSONDecodeError:
            raise self._not_orthanc("its answer is not JSON") from None

    def _send(
        self,
        method: str,
        route: str,
        *,
        params: dict[str, str] | None = None,
        content: str | bytes | None = None,
    ) -> httpx.Response | None:
        """The one place where an answer becomes a result, None for 404, or an error."""
        url = f"{self._client.url}{route}"
        try:
            response = self._client.request(method, url, params=params, content=content)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL):
            raise self._not_orthanc("it is no HTTP address") from None
        except httpx.TimeoutException as error:
            raise ArchiveUnavailable(
                f"Orthanc at {self._client.url} was too slow ({type(error).__name__}); "
                "if this repeats, raise LUMBAR_ORTHANC_TIMEOUT_S"
            ) from error
        except httpx.RequestError as error:
            raise ArchiveUnavailable(
                f"Orthanc at {self._client.url} cannot be reached ({type(error).__name__})"
            ) from error
        if response.is_success:
            return cast("httpx.Response", response)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        if response.status_code in _NO_ENTRY:
            raise BadSettings(
                f"Orthanc at {self._client.url} lets us not in (HTTP {response.status_code}): set "
                "LUMBAR_ORTHANC_USERNAME and LUMBAR_ORTHANC_PASSWORD to one of its RegisteredUsers"
            )
        if response.is_server_error or response.status_code in _BUSY:
            raise ArchiveUnavailable(
                f"Orthanc at {self._client.url} answers HTTP {response.status_code}"
            )
        if response.status_code in _REFUSED:
            raise BrokenStudy(
                f"Orthanc at {self._client.url} refuses an object (HTTP {response.status_code}); "
                "its log says why"
            )
        raise self._not_orthanc(f"it answers HTTP {response.status_code} to {method} {route}")

    def _not_orthanc(self, why: str) -> BadSettings:
        return BadSettings(
            "set LUMBAR_ORTHANC_URL to the root of Orthanc's REST API; "
            f"at {self._client.url}, {why}"
        )


def _instance(key: str, tags: Mapping[str, Any]) -> Instance:
    return Instance(key, header_from_tags(tags))


def _read(content: bytes) -> Dataset:
    try:
        return pydicom.dcmread(io.BytesIO(content))
    except (InvalidDicomError, EOFError) as error:
        raise ArchiveUnavailable("Orthanc gave back a file that is not DICOM") from error
