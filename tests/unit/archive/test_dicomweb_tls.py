"""Whom the DICOMweb adapter trusts, and who it says it is; certificates are made here."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.loopback import Answer, Server, serving
from tests.support.needs import cannot_run
from worker.archive.dicomweb import DicomwebArchive
from worker.archive.dicomweb_session import Access
from worker.errors import ArchiveUnavailable, BadSettings

EMPTY = Answer(200, b"[]", {"Content-Type": "application/dicom+json"})


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key, in PEM."""
    if not shutil.which("openssl"):
        cannot_run("openssl missing: apt-get install openssl")
    pair = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-out", pair[0], "-keyout", pair[1]),
        ],
        check=True,
        capture_output=True,
    )
    return pair


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The worker's certificate and key."""
    return certificate(tmp_path_factory.mktemp("ours"), "worker")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The server's certificate and key."""
    return certificate(tmp_path_factory.mktemp("theirs"), "server")


@pytest.fixture(params=[False, True], ids=["any client", "known clients"])
def server(request: pytest.FixtureRequest, ours, theirs) -> Iterator[Server]:
    """A server over TLS, that lets in anybody or only who has the worker's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*theirs)
    if request.param:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ours[0])
    with serving(lambda _: EMPTY, context) as server:
        yield server


any_client = pytest.mark.parametrize("server", [False], indirect=True)
known_clients = pytest.mark.parametrize("server", [True], indirect=True)


@any_client
def test_an_unknown_certificate_is_refused(server):
    """A server that nobody vouches for gets nothing, and the variable is named."""
    with (
        DicomwebArchive.connect(server.url) as archive,
        pytest.raises(BadSettings, match="LUMBAR_DICOMWEB_CA_FILE"),
    ):
        archive.check()
    assert not server.asked


@any_client
def test_the_ca_file_vouches_for_it(server, theirs):
    """With its authority's file the same server is accepted."""
    with DicomwebArchive.connect(server.url, Access(ca_file=theirs[0])) as archive:
        archive.check()
    assert server.asked


@any_client
def test_the_environment_does_not_overrule_the_ca_file(server, ours, theirs, monkeypatch):
    """REQUESTS_CA_BUNDLE, which requests prefers, neither replaces nor adds to the CA file."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ours[0]))
    with DicomwebArchive.connect(server.url, Access(ca_file=theirs[0])) as archive:
        archive.check()


@known_clients
def test_a_client_certificate_is_shown(server, ours, theirs):
    """A server that knows the worker's certificate lets it in."""
    access = Access(ca_file=theirs[0], client_certificate=ours[0], client_key=ours[1])
    with DicomwebArchive.connect(server.url, access) as archive:
        archive.check()
    assert server.asked


@known_clients
def test_without_the_client_certificate_nobody_gets_in(server, theirs):
    """A server that asks for a certificate and is shown none answers nothing."""
    with (
        DicomwebArchive.connect(server.url, Access(ca_file=theirs[0])) as archive,
        pytest.raises((BadSettings, ArchiveUnavailable)),
    ):
        archive.check()
    assert not server.asked


@any_client
@pytest.mark.parametrize("field", ["ca_file", "client_certificate", "client_key"])
@pytest.mark.parametrize("content", [None, "no PEM"])
def test_a_file_that_cannot_be_read_names_the_variable(
    server, ours, theirs, tmp_path, field, content
):
    """A certificate or key that is gone or damaged is a matter of settings."""
    file = tmp_path / "file.pem"
    if content:
        file.write_text(content)
    given = {"ca_file": theirs[0], "client_certificate": ours[0], "client_key": ours[1]}
    with (
        DicomwebArchive.connect(server.url, Access(**{**given, field: file})) as archive,
        pytest.raises(BadSettings, match=f"LUMBAR_DICOMWEB_{field.upper()}"),
    ):
        archive.check()
    assert not server.asked
