"""What every request to an archive says of us."""

from __future__ import annotations

import httpx

from worker import __version__
from worker.archive.dicomweb_session import Access, Session
from worker.archive.http import USER_AGENT
from worker.archive.orthanc import OrthancArchive


def test_requests_name_the_software_and_its_version():
    """The log of an archive or a proxy tells our requests from others, of either kind."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"Version": "1", "DicomAet": "A"})

    with OrthancArchive.connect("http://o", transport=httpx.MockTransport(answer)) as archive:
        archive.check()
    assert f"orthanc-lumbar/{__version__}" == USER_AGENT
    assert [request.headers["User-Agent"] for request in asked] == [USER_AGENT]
    assert Session(Access(), connections=1).headers["User-Agent"] == USER_AGENT
