"""Orthanc as an archive: few requests for the headers, parallel ones for the pixels.

Keys are Orthanc's own instance ids. They are hashes of patient, study, series and SOP
Instance UID together, so that instances which repeat a SOP Instance UID in two series
stay apart. Checked against Orthanc 1.10.1 (Debian 12).
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from operator import itemgetter
from typing import Any, Final, Self, TypeVar, cast
from urllib.parse import quote

import httpx
import pydicom
from pydicom import Dataset
from pyorthanc import Orthanc

from worker.archive import HeldStudy
from worker.archive.answers import (
    PARALLEL,
    USER_AGENT,
    dataset_of,
    error_of,
    in_parallel,
    odd_answer,
)
from worker.archive.orthanc_tags import header_from_tags
from worker.domain.study import Instance, Unreadable
from worker.errors import ArchiveUnavailable, BadSettings, BrokenStudy, LumbarError, StudyGone

_KEEPALIVE_S: Final = 0.8  # Orthanc closes idle connections after 1 s; be the first to let go.
_ENTRY: Final = (
    "set LUMBAR_ORTHANC_USERNAME and LUMBAR_ORTHANC_PASSWORD to one of its RegisteredUsers"
)
_PAGE: Final = 500
_NOTE: Final = 4931
"""The user metadata that holds our note; Orthanc leaves 1024 to 65535 to its users."""
_DESTINATIONS: Final = {
    "modality": "/modalities/{}/store",
    "dicomweb": "/dicom-web/servers/{}/stow",
}
_ORTHANC_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}")
_T = TypeVar("_T")


class OrthancArchive:
    """The `Archive` protocol on Orthanc's REST API; a study is its Orthanc id.

    One pooled client serves all threads. Make it after a fork, never before.

    Every method raises `ArchiveUnavailable` when Orthanc cannot be reached, is too slow,
    answers with a server error or as no Orthanc does, `BrokenStudy` when it refuses an object,
    and `BadSettings` when it lets nobody in. That it is no Orthanc at all, `check` alone says.
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
        limits = httpx.Limits(max_connections=2 * PARALLEL, keepalive_expiry=_KEEPALIVE_S)
        transport = transport or httpx.HTTPTransport(limits=limits, retries=1)
        auth = (username, password or "") if username else None
        # Asked for gzip, Orthanc compresses every DICOM file and takes four times as long.
        headers = {"Accept-Encoding": "identity", "User-Agent": USER_AGENT}
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
        """Orthanc and its version; raise BadSettings where something else answers at this URL."""
        try:
            system = self._json("GET", "/system", odd=self._not_orthanc)
        except BrokenStudy as error:  # there is no study in this
            raise self._not_orthanc(str(error)) from None
        if not isinstance(system, dict) or "Version" not in system or "DicomAet" not in system:
            raise self._not_orthanc("its /system is not Orthanc's")
        return f"Orthanc {system['Version']}"

    def study_id(self, name: str) -> str:
        """Orthanc's id of the study with this id or Study Instance UID; raise `StudyGone`."""
        if _ORTHANC_ID.fullmatch(name):
            return name
        studies = self._looked_up("Study", name)
        if len(studies) != 1:
            held = f"{len(studies)} studies" if studies else "no study"
            raise StudyGone(f"Orthanc holds {held} with the id {name}; name one by Orthanc's id")
        return studies[0]

    def headers(self, study: str) -> Sequence[Instance | Unreadable]:
        """The headers of every object of the study in one request; raise `StudyGone`.

        Private attributes, binary values and values over 256 characters are left out:
        Orthanc does not give them in this form.
        """
        tags = self._json("GET", f"/studies/{study}/instances-tags", params={"short": ""})
        if tags is None:
            raise StudyGone(f"Orthanc no longer holds the study {study}")
        if not isinstance(tags, dict):
            raise self._odd("its list of tags is not Orthanc's")
        return [_instance(key, values) for key, values in sorted(tags.items())]

    def fetch(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The whole objects with these keys, four at a time and in any order."""
        return in_parallel(keys, self._file)

    def store(self, dataset: Dataset) -> None:
        """Store one object; whether Orthanc really kept it, only `stored` tells."""
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
        self._send("POST", "/instances", content=buffer.getvalue())

    def stored(self, study: str, sop_instance_uid: str) -> Dataset | None:
        """The object with this SOP Instance UID in this study as Orthanc gives it back."""
        key = self._instance(study, sop_instance_uid)
        content = None if key is None else self._file(key)
        return None if content is None else dataset_of(content, f"Orthanc at {self._client.url}")

    def studies(self) -> Iterator[HeldStudy]:
        """Every study, a page at a time; Orthanc knows when each changed (UTC)."""
        since = 0
        while True:
            page = self._json(
                "GET",
                "/studies",
                params={"expand": "", "since": str(since), "limit": str(_PAGE)},
            )
            if not isinstance(page, list):
                raise self._odd("its list of studies is not Orthanc's")
            for found in page:
                yield self._understood("list of studies", _held_study, found)
            if len(page) < _PAGE:
                return
            since += len(page)

    def inventory(self, study: str) -> Sequence[str]:
        """The Orthanc ids of the study's MR images, in one request."""
        found = self._json("GET", f"/studies/{study}/series")
        if found is None:
            return []
        if not isinstance(found, list):
            raise self._odd("its list of series is not Orthanc's")
        return self._understood("list of series", _mr_images, found)

    def note(self, study: str) -> str | None:
        """What `write_note` left with the study, None where there is nothing."""
        response = self._send("GET", f"/studies/{study}/metadata/{_NOTE}")
        return None if response is None else response.text

    def write_note(self, study: str, text: str | None) -> None:
        """Keep a text with the study, until the study is deleted; None takes it away.

        Raises `StudyGone` when Orthanc no longer holds the study.
        """
        route = f"/studies/{study}/metadata/{_NOTE}"
        if text is None:
            self._send("DELETE", route)
        elif self._send("PUT", route, content=text.encode()) is None:
            raise StudyGone(f"Orthanc no longer holds the study {study}")

    def forward(self, study: str, sop_instance_uid: str, destination: str) -> None:
        """Have Orthanc send one object on, and read how that ended.

        `destination` is `modality:NAME` for C-STORE or `dicomweb:NAME` for STOW-RS, with a
        name that Orthanc's configuration knows. Raises `ArchiveUnavailable` when it did not
        arrive, `StudyGone` when Orthanc no longer holds the object, and `BadSettings` when it
        knows no such name.
        """
        key = self._instance(study, sop_instance_uid)
        if key is None:
            raise StudyGone(f"Orthanc no longer holds {sop_instance_uid}")
        kind, _, name = destination.partition(":")
        route = _DESTINATIONS[kind].format(quote(name, safe=""))
        order = json.dumps({"Resources": [key], "Synchronous": True})
        ended = self._json("POST", route, content=order)
        if ended is None:
            raise BadSettings(f"Orthanc knows no {kind} {name}: LUMBAR_FORWARD names it")
        if not isinstance(ended, dict) or ended.get("FailedInstancesCount", 0):
            raise ArchiveUnavailable(f"the {kind} {name} did not take an object")

    def _instance(self, study: str, sop_instance_uid: str) -> str | None:
        """Orthanc's id of the object with this SOP Instance UID in this study."""
        for key in self._looked_up("Instance", sop_instance_uid):
            parent = self._json("GET", f"/instances/{key}/study")
            if parent is not None and self._understood("study", itemgetter("ID"), parent) == study:
                return key
        return None

    def _looked_up(self, kind: str, name: str) -> list[str]:
        """Orthanc's ids of what is called so in DICOM."""
        found = self._json("POST", "/tools/lookup", content=name)
        if found is None:
            return []
        if not isinstance(found, list):
            raise self._odd("its look-up is not Orthanc's")
        return self._understood("look-up", partial(_matches, kind), found)

    def _file(self, key: str) -> bytes | None:
        response = self._send("GET", f"/instances/{key}/file")
        return None if response is None else response.content

    def _json(
        self,
        method: str,
        route: str,
        *,
        params: dict[str, str] | None = None,
        content: str | None = None,
        odd: Callable[[str], LumbarError] | None = None,
    ) -> Any:  # noqa: ANN401 - JSON has no narrower type
        """The decoded answer, or None where Orthanc has no such thing."""
        odd = odd or self._odd
        response = self._send(method, route, params=params, content=content, odd=odd)
        if response is None:
            return None
        try:
            return response.json()
        except json.JSONDecodeError:
            raise odd("its answer is not JSON") from None
        except (RecursionError, ValueError) as error:
            raise odd(f"its JSON cannot be read ({type(error).__name__})") from None

    def _send(
        self,
        method: str,
        route: str,
        *,
        params: dict[str, str] | None = None,
        content: str | bytes | None = None,
        odd: Callable[[str], LumbarError] | None = None,
    ) -> httpx.Response | None:
        """The one place where an answer becomes a result, None for 404, or an error.

        `odd` makes that of an answer that Orthanc does not give.
        """
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
        said = f"it answers HTTP {response.status_code} to {method} {route}"
        known = error_of(response.status_code, f"Orthanc at {self._client.url}", _ENTRY)
        raise known or (odd or self._odd)(said)

    def _understood(self, what: str, read: Callable[[Any], _T], found: object) -> _T:
        """What is read from an answer; raise `ArchiveUnavailable` where it is made otherwise."""
        try:
            return read(found)
        except (LookupError, TypeError, AttributeError, ValueError):
            raise self._odd(f"its {what} is not Orthanc's") from None

    def _odd(self, why: str) -> ArchiveUnavailable:
        return odd_answer(f"Orthanc at {self._client.url}", why, "LUMBAR_ORTHANC_URL")

    def _not_orthanc(self, why: str) -> BadSettings:
        return BadSettings(
            "set LUMBAR_ORTHANC_URL to the root of Orthanc's REST API; "
            f"at {self._client.url}, {why}"
        )


def _held_study(found: Mapping[str, Any]) -> HeldStudy:
    changed = datetime.strptime(found["LastUpdate"], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return HeldStudy(found["ID"], found["LastUpdate"], changed, stable=found["IsStable"])


def _mr_images(found: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        instance
        for series in found
        if series["MainDicomTags"].get("Modality", "") in ("", "MR")
        for instance in series["Instances"]
    ]


def _matches(kind: str, found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Orthanc's ids of what a look-up found of one kind."""
    return [str(match["ID"]) for match in found if match["Type"] == kind]


def _instance(key: str, tags: Mapping[str, Any]) -> Instance:
    return Instance(key, header_from_tags(tags))
