"""The Orthanc adapter's promises about answers and errors; a transport stands in for Orthanc."""

import httpx
import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from worker.archive.orthanc import OrthancArchive
from worker.errors import ArchiveUnavailable, BadSettings, StudyGone

STUDY = "-".join(["0123abcd"] * 5)

CALLS = {
    "check": lambda archive: archive.check(),
    "headers": lambda archive: archive.headers(STUDY),
    "fetch": lambda archive: list(archive.fetch(["a", "b", "c", "d", "e"])),
    "store": lambda archive: archive.store(small_object()),
    "stored": lambda archive: archive.stored(STUDY, "1.2"),
    "studies": lambda archive: list(archive.studies()),
    "inventory": lambda archive: archive.inventory(STUDY),
    "read_metadata": lambda archive: archive.read_metadata(STUDY),
    "write_metadata": lambda archive: archive.write_metadata(STUDY, "text"),
    "delete_metadata": lambda archive: archive.write_metadata(STUDY, None),
}


def small_object() -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, "1.2.3"
    dataset.ensure_file_meta()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def archive(answer) -> OrthancArchive:
    return OrthancArchive.connect("http://orthanc", transport=httpx.MockTransport(answer))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [500, 502, 503, 507, 408, 429])
def test_a_server_in_trouble_is_unavailable(call, status):
    """Whatever is asked, an answer that may be better later is ArchiveUnavailable."""
    with pytest.raises(ArchiveUnavailable, match=str(status)):
        CALLS[call](archive(lambda _: httpx.Response(status)))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "error",
    [httpx.ConnectError, httpx.ReadTimeout, httpx.PoolTimeout, httpx.RemoteProtocolError],
)
def test_a_broken_connection_is_unavailable(call, error):
    """Whatever is asked, no or half an answer is ArchiveUnavailable."""

    def answer(request):
        raise error("half a body", request=request)

    with pytest.raises(ArchiveUnavailable, match=error.__name__):
        CALLS[call](archive(answer))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [401, 403])
def test_failed_authentication_names_the_variables(call, status):
    """For every request, refused credentials name the variables to set."""
    with pytest.raises(BadSettings, match="LUMBAR_ORTHANC_PASSWORD"):
        CALLS[call](archive(lambda _: httpx.Response(status)))


UNEXPECTED = {
    "redirect": httpx.Response(302),
    "refused method": httpx.Response(405),
    "not acceptable": httpx.Response(406),
    "web page": httpx.Response(200, text="<html>welcome</html>"),
    "a number": httpx.Response(200, json=5),
    "an empty string": httpx.Response(200, json=""),
    "other JSON": httpx.Response(200, json=[{"name": "welcome"}]),
}


@pytest.mark.parametrize(
    "response", [*UNEXPECTED.values(), httpx.Response(400), httpx.Response(404)]
)
def test_something_else_than_orthanc_names_the_variable(response):
    """`check` says of any other server that the URL is wrong."""
    with pytest.raises(BadSettings, match="LUMBAR_ORTHANC_URL"):
        archive(lambda _: response).check()


@pytest.mark.parametrize("call", ["headers", "stored", "studies", "inventory"])
@pytest.mark.parametrize("kind", UNEXPECTED)
def test_an_unexpected_response_about_one_study_does_not_stop_the_worker(call, kind):
    """Orthanc may work otherwise: the study is retried, and then a dead letter."""
    with pytest.raises(ArchiveUnavailable, match="unexpected response"):
        CALLS[call](archive(lambda _: UNEXPECTED[kind]))


@pytest.mark.parametrize(
    "call", ["fetch", "store", "read_metadata", "write_metadata", "delete_metadata"]
)
@pytest.mark.parametrize("status", [302, 405, 406, 412])
def test_an_unexpected_status_does_not_stop_the_worker(call, status):
    """An unexpected status about one study is ArchiveUnavailable."""
    with pytest.raises(ArchiveUnavailable, match=str(status)):
        CALLS[call](archive(lambda _: httpx.Response(status)))


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b'{"a": "\xff"}'],
    ids=["deep", "long", "not Unicode"],
)
def test_json_that_cannot_be_read_does_not_stop_the_worker(content):
    """Nesting, numbers or bytes of one study do not mean a wrong URL: ArchiveUnavailable."""
    with pytest.raises(ArchiveUnavailable, match="JSON"):
        archive(lambda _: httpx.Response(200, content=content)).headers(STUDY)


def test_an_address_without_scheme_names_the_variable():
    """An invalid URL is not a network error."""
    with (
        OrthancArchive.connect("orthanc:8042") as wrong,
        pytest.raises(BadSettings, match="LUMBAR_ORTHANC_URL"),
    ):
        wrong.check()


def test_a_study_is_found_by_its_uid():
    """A Study Instance UID is looked up, Orthanc's own id is not; no match and two are refused."""
    own = "-".join(["0123abcd"] * 5)
    matches = {"1.2": [{"Type": "Study", "ID": own}, {"Type": "Series", "ID": "x"}], "1.3": []}
    matches["1.4"] = matches["1.2"] + [{"Type": "Study", "ID": "another"}]
    asked = []

    def answer(request):
        asked.append((request.url.path, request.content.decode()))
        return httpx.Response(200, json=matches[asked[-1][1]])

    found = archive(answer)
    assert found.study_id(own) == own
    assert asked == []
    assert found.study_id("1.2") == own
    assert asked == [("/tools/lookup", "1.2")]
    with pytest.raises(StudyGone, match="no study"):
        found.study_id("1.3")
    with pytest.raises(StudyGone, match="2 studies"):
        found.study_id("1.4")
