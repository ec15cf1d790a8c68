"""Orthanc as an archive: few requests for the headers, parallel ones for the pixels.

Keys are Orthanc's instance ids. They are hashes of patient, study, series and SOP Instance UID
together, so that instances which repeat a SOP Instance UID in two series stay apart. Tested with
Orthanc 1.10.1 (Debian 12).
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from operator import itemgetter
from typing import Any, Final, Self
from urllib.parse import quote

import httpx
import pydicom
from pydicom import Dataset
from pyorthanc import Orthanc

from dicom_sr.attributes import text
from worker.archive import StudyEntry
from worker.archive.http import PARALLEL, USER_AGENT, fetch_parallel, parse_dataset
from worker.archive.orthanc_rest import OrthancRest
from worker.archive.orthanc_tags import header_from_tags
from worker.domain.study import Instance, Unreadable
from worker.errors import ArchiveUnavailable, BadSettings, BrokenStudy, StudyGone
from worker.intake.patient import check_one_patient

_KEEPALIVE_S: Final = 0.8  # Orthanc closes idle connections after 1 s; close them earlier.
_PAGE: Final = 500
_METADATA: Final = 4931
"""The number of our user metadata; Orthanc reserves 1024 to 65535 for users."""
_DESTINATIONS: Final = {
    "modality": "/modalities/{}/store",
    "dicomweb": "/dicom-web/servers/{}/stow",
}
_ORTHANC_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}")


class OrthancArchive:
    """A `SearchableArchive` on Orthanc's REST API, which `StoresMetadata` and `Forwards`.

    A study is its Orthanc id; every method raises `StudyGone` for a name that is none. One pooled
    client serves all threads. Create it after a fork, never before.

    Every method raises `ArchiveUnavailable` if Orthanc cannot be reached, does not respond in
    time, responds with a server error or as no Orthanc does, `BrokenStudy` if it refuses an
    object, and `BadSettings` if authentication fails. Only `check` finds that the URL is not
    Orthanc's.
    """

    def __init__(self, client: Orthanc) -> None:
        self._rest = OrthancRest(client)

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
        """An archive on the Orthanc at this URL; does not connect yet."""
        limits = httpx.Limits(max_connections=2 * PARALLEL, keepalive_expiry=_KEEPALIVE_S)
        transport = transport or httpx.HTTPTransport(limits=limits, retries=1)
        auth = (username, password or "") if username else None
        # With gzip Orthanc compresses every DICOM file, which takes four times as long.
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
        self._rest.close()

    def check(self) -> str:
        """Orthanc and its version; raise BadSettings if another server has this URL."""
        not_orthanc = self._rest.not_orthanc
        try:
            system = self._rest.json("GET", "/system", unexpected=not_orthanc)
        except BrokenStudy as error:  # the request concerns no study
            raise not_orthanc(str(error)) from None
        if not isinstance(system, dict) or "Version" not in system or "DicomAet" not in system:
            raise not_orthanc("/system is not Orthanc's")
        return f"Orthanc {system['Version']}"

    def study_id(self, name: str) -> str:
        """Orthanc's id of the study with this id or Study Instance UID; raise `StudyGone`."""
        if _ORTHANC_ID.fullmatch(name):
            return name
        studies = self._lookup("Study", name)
        if len(studies) != 1:
            count = f"{len(studies)} studies" if studies else "no study"
            raise StudyGone(f"Orthanc holds {count} with the id {name}; use an Orthanc id")
        return studies[0]

    def headers(self, study: str) -> Sequence[Instance | Unreadable]:
        """The headers of every object of the study in one request; raise `StudyGone`.

        Private attributes, binary values and values over 256 characters are left out: this
        request does not return them.

        Orthanc makes a study of each Patient ID. Raises `SeveralPatients` where it holds another
        one with this Study Instance UID that names another patient.
        """
        tags = self._rest.json("GET", _route(study, "instances-tags"), params={"short": ""})
        if tags is None:
            raise StudyGone(f"Orthanc no longer holds the study {study}")
        if not isinstance(tags, dict):
            raise self._rest.unexpected("malformed list of tags")
        found = [Instance(key, header_from_tags(values)) for key, values in sorted(tags.items())]
        others = self._of_same_uid(study, found)
        if others:
            check_one_patient([*others, *(instance.header for instance in found)])
        return found

    def _of_same_uid(self, study: str, found: Sequence[Instance]) -> list[Dataset]:
        """One header of each other study of Orthanc with the same Study Instance UID."""
        uid = next((uid for i in found if (uid := text(i.header, "StudyInstanceUID"))), "")
        headers = []
        for other in self._lookup("Study", uid) if uid else ():
            if other == study:
                continue
            instances = self._rest.json("GET", _route(other, "instances"))
            keys = self._rest.parse("list of instances", _keys, instances or [])
            for key in keys[:1]:
                tags = self._rest.json("GET", f"/instances/{key}/tags", params={"short": ""})
                headers.append(header_from_tags(tags))
        return headers

    def fetch(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The whole objects with these keys, four at a time and in any order."""
        return fetch_parallel(keys, self._file)

    def store(self, dataset: Dataset) -> None:
        """Store one object; only `stored` shows whether Orthanc kept it."""
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
        self._rest.send("POST", "/instances", content=buffer.getvalue())

    def stored(self, study: str, sop_instance_uid: str) -> Dataset | None:
        """The object with this SOP Instance UID in this study as Orthanc returns it."""
        key = self._instance(study, sop_instance_uid)
        content = None if key is None else self._file(key)
        return None if content is None else parse_dataset(content, self._rest.server)

    def studies(self) -> Iterator[StudyEntry]:
        """Every study, a page at a time, with the time of its last change (UTC)."""
        since = 0
        while True:
            page = self._rest.json(
                "GET",
                "/studies",
                params={"expand": "", "since": str(since), "limit": str(_PAGE)},
            )
            if not isinstance(page, list):
                raise self._rest.unexpected("malformed list of studies")
            for study in page:
                yield self._rest.parse("list of studies", _study_entry, study)
            if len(page) < _PAGE:
                return
            since += len(page)

    def inventory(self, study: str) -> Sequence[str]:
        """The Orthanc ids of the study's MR images, in one request."""
        series = self._rest.json("GET", _route(study, "series"))
        if series is None:
            return []
        if not isinstance(series, list):
            raise self._rest.unexpected("malformed list of series")
        return self._rest.parse("list of series", _mr_images, series)

    def read_metadata(self, study: str) -> str | None:
        """The text that `write_metadata` stored with the study, None if there is none."""
        response = self._rest.send("GET", _route(study, f"metadata/{_METADATA}"))
        return None if response is None else response.text

    def write_metadata(self, study: str, text: str | None) -> None:
        """Store a text with the study, until the study is deleted; None deletes the text.

        Raises `StudyGone` if Orthanc no longer holds the study.
        """
        route = _route(study, f"metadata/{_METADATA}")
        if text is None:
            self._rest.send("DELETE", route)
        elif self._rest.send("PUT", route, content=text.encode()) is None:
            raise StudyGone(f"Orthanc no longer holds the study {study}")

    def forward(self, study: str, sop_instance_uid: str, destination: str) -> None:
        """Have Orthanc send one object to another server, and wait for the result.

        `destination` is `modality:NAME` for C-STORE or `dicomweb:NAME` for STOW-RS, with a name
        from Orthanc's configuration. Raises `ArchiveUnavailable` if it did not arrive,
        `StudyGone` if Orthanc no longer holds the object, and `BadSettings` if it does not know
        the name.
        """
        key = self._instance(study, sop_instance_uid)
        if key is None:
            raise StudyGone(f"Orthanc no longer holds {sop_instance_uid}")
        kind, _, name = destination.partition(":")
        route = _DESTINATIONS[kind].format(quote(name, safe=""))
        job = json.dumps({"Resources": [key], "Synchronous": True})
        result = self._rest.json("POST", route, content=job)
        if result is None:
            raise BadSettings(f"Orthanc has no {kind} named {name}; change LUMBAR_FORWARD")
        if not isinstance(result, dict) or result.get("FailedInstancesCount", 0):
            raise ArchiveUnavailable(f"the {kind} {name} did not accept an object")

    def _instance(self, study: str, sop_instance_uid: str) -> str | None:
        """Orthanc's id of the object with this SOP Instance UID in this study."""
        for key in self._lookup("Instance", sop_instance_uid):
            parent = self._rest.json("GET", f"/instances/{quote(key, safe='')}/study")
            if parent is not None and self._rest.parse("study", itemgetter("ID"), parent) == study:
                return key
        return None

    def _lookup(self, kind: str, uid: str) -> list[str]:
        """Orthanc's ids of the resources of one kind with this UID."""
        matches = self._rest.json("POST", "/tools/lookup", content=uid)
        if matches is None:
            return []
        if not isinstance(matches, list):
            raise self._rest.unexpected("malformed lookup")
        return self._rest.parse("lookup", partial(_ids, kind), matches)

    def _file(self, key: str) -> bytes | None:
        response = self._rest.send("GET", f"/instances/{quote(key, safe='')}/file")
        return None if response is None else response.content


def _route(study: str, part: str) -> str:
    """The route to a part of a study; raise StudyGone for what is not an Orthanc id."""
    if not _ORTHANC_ID.fullmatch(study):
        raise StudyGone("the study's name is not an Orthanc id; Orthanc holds no such study")
    return f"/studies/{study}/{part}"


def _study_entry(study: Mapping[str, Any]) -> StudyEntry:
    changed = datetime.strptime(study["LastUpdate"], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return StudyEntry(study["ID"], study["LastUpdate"], changed, stable=study["IsStable"])


def _mr_images(series: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        instance
        for one in series
        if one["MainDicomTags"].get("Modality", "") in ("", "MR")
        for instance in one["Instances"]
    ]


def _keys(instances: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(instance["ID"]) for instance in instances]


def _ids(kind: str, matches: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(match["ID"]) for match in matches if match["Type"] == kind]
