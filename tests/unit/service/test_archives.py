"""Which archive the settings open."""

from __future__ import annotations

import pytest

from tests.support.loopback import Answer, serving
from worker.archive.orthanc import OrthancArchive
from worker.service.archives import open_archive
from worker.settings import Settings

EMPTY = Answer(200, b"[]", {"Content-Type": "application/dicom+json"})


def test_orthanc_is_the_default():
    """Without LUMBAR_ARCHIVE the worker uses Orthanc's REST API."""
    with open_archive(Settings()) as archive:
        assert isinstance(archive, OrthancArchive)


@pytest.mark.parametrize("way", ["user", "token", "file"])
def test_dicomweb_gets_the_credentials_that_are_set(way, tmp_path):
    """With LUMBAR_ARCHIVE=dicomweb requests carry the configured user or token."""
    (tmp_path / "token").write_text("filed")
    given, expected = {
        "user": (
            {"dicomweb_username": "user", "dicomweb_password": "word"},
            "Basic dXNlcjp3b3Jk",
        ),
        "token": ({"dicomweb_token": "told"}, "Bearer told"),
        "file": ({"dicomweb_token_file": tmp_path / "token"}, "Bearer filed"),
    }[way]
    with serving(lambda _: EMPTY) as server:
        settings = Settings(archive="dicomweb", dicomweb_url=server.url, **given)
        with open_archive(settings) as archive:
            assert archive.check() == "DICOMweb"
    assert server.asked[0].headers["Authorization"] == expected
