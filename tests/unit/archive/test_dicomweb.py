"""The DICOMweb adapter's promises about answers and errors; a server on loopback gives them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from urllib.parse import parse_qs, urlsplit

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from tests.support.loopback import Answer, Asked, Server, serving
from worker.archive.dicomweb import DicomwebArchive
from worker.archive.dicomweb_session import Access
from worker.domain.study import Instance, Unreadable
from worker.errors import ArchiveUnavailable, BadSettings, BrokenStudy, StudyGone

STUDY, SERIES, INSTANCE = "1.2.3", "1.2.3.4", "1.2.3.4.5"
KEY = f"{STUDY}/{SERIES}/{INSTANCE}"
JSON = {"Content-Type": "application/dicom+json"}
PARTS = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=cut'}
IDENTITY = {
    "0020000D": {"vr": "UI", "Value": [STUDY]},
    "0020000E": {"vr": "UI", "Value": [SERIES]},
    "00080018": {"vr": "UI", "Value": [INSTANCE]},
}
ONE, TWO, CT = ({"vr": "UI", "Value": [f"1.{number}"]} for number in (1, 2, 3))
INSTANCE_UID = IDENTITY["00080018"]
FAILED, FAILURE_REASON = "00081198", "00081197"

CALLS: dict[str, Callable[[DicomwebArchive], object]] = {
    "check": lambda archive: archive.check(),
    "headers": lambda archive: archive.headers(STUDY),
    "fetch": lambda archive: list(archive.fetch([KEY])),
    "store": lambda archive: archive.store(small_object()),
    "stored": lambda archive: archive.stored(STUDY, INSTANCE),
    "studies": lambda archive: list(archive.studies()),
    "inventory": lambda archive: archive.inventory(STUDY),
}
every_call = pytest.mark.parametrize("call", CALLS)


def small_object() -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, INSTANCE
    dataset.ensure_file_meta()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def small_file() -> bytes:
    buffer = BytesIO()
    dcmwrite(buffer, small_object(), enforce_file_format=True)
    return buffer.getvalue()


def as_json(content: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(content).encode(), JSON)


def as_part(content: bytes) -> Answer:
    head = b"--cut\r\nContent-Type: application/dicom\r\n\r\n"
    return Answer(200, head + content + b"\r\n--cut--\r\n", PARTS)


def refusal(reason: int, status: int = 409, content_type: str = JSON["Content-Type"]) -> Answer:
    failed = {FAILURE_REASON: {"vr": "US", "Value": [reason]}}
    body = json.dumps({FAILED: {"vr": "SQ", "Value": [failed]}}).encode()
    return Answer(status, body, {"Content-Type": content_type})


class Scripted:
    """An archive whose server gives the answer that was put here last."""

    def __init__(self) -> None:
        self.answer: Callable[[Asked], Answer] = lambda _: Answer(500)

    def gives(self, answer: Answer) -> None:
        self.answer = lambda _: answer


@pytest.fixture
def script() -> Scripted:
    return Scripted()


@pytest.fixture
def server(script: Scripted) -> Iterator[Server]:
    with serving(lambda asked: script.answer(asked)) as server:
        yield server


@pytest.fixture
def archive(server: Server) -> Iterator[DicomwebArchive]:
    access = Access(username="someone", password="sécret✓")
    with DicomwebArchive.connect(server.url, access, timeout_s=5) as archive:
        yield archive


@every_call
@pytest.mark.parametrize("status", [500, 502, 503, 507, 408, 429])
def test_a_server_in_trouble_is_unavailable(script, archive, server, call, status):
    """Whatever is asked, an answer that may be better later is ArchiveUnavailable, at once."""
    script.gives(Answer(status))
    with pytest.raises(ArchiveUnavailable, match=str(status)):
        CALLS[call](archive)
    assert len(server.asked) == 1


@every_call
@pytest.mark.parametrize("status", [401, 403])
def test_a_closed_door_names_the_variables(script, archive, call, status):
    """Whatever is asked, refused credentials say which variables to set and are not quoted."""
    script.gives(Answer(status))
    with pytest.raises(BadSettings, match="LUMBAR_DICOMWEB_PASSWORD") as raised:
        CALLS[call](archive)
    assert "someone" not in str(raised.value)
    assert "cret" not in str(raised.value)


@every_call
@pytest.mark.parametrize("body", [b"", b"{}", b"<xml/>"])
@pytest.mark.parametrize("status", [400, 409, 413, 415, 422])
def test_a_refusal_is_a_broken_study(script, archive, call, status, body):
    """What the server will never take is BrokenStudy, but where no study is asked for."""
    script.gives(Answer(status, body, JSON))
    error = BadSettings if call == "check" else BrokenStudy
    with pytest.raises(error, match=str(status)):
        CALLS[call](archive)


@every_call
def test_a_slow_server_is_unavailable(script, server, call):
    """Whatever is asked, no answer in time is ArchiveUnavailable and names the setting."""
    wake = threading.Event()
    script.answer = lambda _: Answer(200) if wake.wait(5) else Answer(500)
    slow = DicomwebArchive.connect(server.url, timeout_s=0.1)
    with slow, pytest.raises(ArchiveUnavailable, match="LUMBAR_DICOMWEB_TIMEOUT_S"):
        CALLS[call](slow)
    wake.set()


@every_call
def test_half_a_body_is_unavailable(script, archive, call):
    """Whatever is asked, a connection that ends too early is ArchiveUnavailable."""
    script.gives(Answer(200, b"[{", JSON, content_length=1000))
    with pytest.raises(ArchiveUnavailable, match="connection failed"):
        CALLS[call](archive)


def test_a_file_without_its_end_is_unavailable(script, archive):
    """An answer in parts whose last boundary is missing is not taken for a whole file."""
    whole = as_part(small_file())
    script.gives(Answer(200, whole.body[:-20], PARTS))
    with pytest.raises(ArchiveUnavailable):
        list(archive.fetch([KEY]))


@every_call
def test_nobody_there_is_unavailable(call):
    """Whatever is asked, a refused connection is ArchiveUnavailable."""
    with serving(lambda _: Answer()) as gone:
        url = gone.url
    with (
        DicomwebArchive.connect(url) as archive,
        pytest.raises(ArchiveUnavailable, match="connection failed"),
    ):
        CALLS[call](archive)


WEB_PAGE = Answer(200, b"<html>welcome</html>", {"Content-Type": "text/html"})
ODD = {
    "refused method": Answer(405),
    "precondition failed": Answer(412),
    "deep JSON": Answer(200, b"[" * 100_000, JSON),
    "no list": as_json(5),
    "a word": as_json("text"),
    "web page": WEB_PAGE,
}


@pytest.mark.parametrize("odd", ODD)
def test_something_else_than_dicomweb_names_the_variable(script, archive, odd):
    """Asked for studies in general, whatever is not DICOMweb says that the address is wrong."""
    script.gives(ODD[odd])
    with pytest.raises(BadSettings, match="LUMBAR_DICOMWEB_URL"):
        archive.check()


@pytest.mark.parametrize("call", sorted(CALLS.keys() - {"check", "store"}))
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_answer_about_one_study_does_not_stop_the_worker(script, archive, call, odd):
    """The server may be well otherwise: the study is tried again, and then a dead letter."""
    script.gives(ODD[odd])
    with pytest.raises(ArchiveUnavailable, match="unexpected response"):
        CALLS[call](archive)


@pytest.mark.parametrize("answer", [Answer(404), Answer(405), Answer(406)])
def test_a_server_that_stores_nothing_does_not_stop_the_worker(script, archive, answer):
    """Of storing an odd answer is enough; of a web page, only reading back tells."""
    script.gives(answer)
    with pytest.raises(ArchiveUnavailable, match="unexpected response"):
        archive.store(small_object())


@pytest.mark.parametrize(
    "answer",
    [Answer(204), Answer(200, b"no parts", PARTS), Answer(200, b"--cut", PARTS), Answer(200)],
    ids=["no content", "no boundary", "one boundary", "no type"],
)
def test_an_object_without_parts_is_unavailable(script, archive, answer):
    """An answer about one object that holds none is no reason to stop the worker."""
    script.gives(answer)
    with pytest.raises(ArchiveUnavailable, match="unexpected response"):
        list(archive.fetch([KEY]))


def test_what_cannot_be_given_as_it_is_stored_is_tried_again(script, archive):
    """It may be every object of this server: a dead letter in the end, to be replayed at once."""
    script.gives(Answer(406))
    with pytest.raises(ArchiveUnavailable, match="406"):
        list(archive.fetch([KEY]))
    with pytest.raises(BadSettings, match="406"):
        archive.check()


@every_call
def test_a_redirect_is_not_followed(script, archive, server, call):
    """Credentials go to no address but the one that was set."""
    with serving(lambda _: Answer()) as elsewhere:
        script.gives(Answer(307, headers={"Location": elsewhere.url}))
        with pytest.raises(BadSettings, match="redirect"):
            CALLS[call](archive)
        assert not elsewhere.asked


def test_an_address_that_is_none_names_the_variable():
    """An address without a scheme is no network trouble."""
    with pytest.raises(BadSettings, match="LUMBAR_DICOMWEB_URL"):
        DicomwebArchive.connect("pacs:8042")


@pytest.mark.parametrize("answer", [Answer(404), Answer(410), as_json([]), Answer(204)])
def test_a_study_that_is_not_there_is_gone(script, archive, answer):
    """However a server says that it has no such study, it is StudyGone."""
    script.gives(answer)
    with pytest.raises(StudyGone):
        archive.headers(STUDY)


@pytest.mark.parametrize("name", ["6d2b9a5c-1f", "../../admin", "..", "1" * 65, ""])
def test_a_study_that_is_no_uid_is_not_asked_for(archive, server, name):
    """A name that could not be a Study Instance UID never becomes part of an address."""
    with pytest.raises(StudyGone, match="LUMBAR_ARCHIVE"):
        archive.headers(name)
    assert archive.stored(name, INSTANCE) is None
    assert archive.inventory(name) == []
    with pytest.raises(StudyGone, match="LUMBAR_ARCHIVE"):
        archive.study_id(name)
    assert not server.asked


def test_bad_objects_do_not_cost_the_others(script, archive):
    """Objects without UIDs, of another study or that are none become Unreadable, one by one."""
    bad = [
        {**IDENTITY, "00080018": {"vr": "UI"}},
        {**IDENTITY, "0020000E": {"vr": "UI", "Value": ["../.."]}},
        {**IDENTITY, "0020000D": {"vr": "UI", "Value": ["9.9"]}},
        {},
        None,
        "text",
    ]
    script.gives(as_json([*bad, IDENTITY]))
    *unreadable, good = archive.headers(STUDY)
    assert all(isinstance(one, Unreadable) for one in unreadable)
    assert len(unreadable) == len(bad)
    assert isinstance(good, Instance)
    assert good.key == KEY


@pytest.mark.parametrize(("most", "knows_offset"), [(2, True), (7, True), (7, False), (500, False)])
def test_every_match_is_listed_however_the_server_pages(script, archive, most, knows_offset):
    """A server may give fewer than were asked for, or the same ones for ever: each comes once."""
    studies = [f"1.2.{number}" for number in range(7)]

    def answer(asked: Asked) -> Answer:
        offset = int(parse_qs(urlsplit(asked.path).query)["offset"][0]) if knows_offset else 0
        page = studies[offset : offset + most]
        return as_json([{"0020000D": {"vr": "UI", "Value": [study]}} for study in page])

    script.answer = answer
    assert [held.study for held in archive.studies()] == studies


def test_a_study_without_mr_is_not_listed(script, archive):
    """One that names its modalities, and MR not among them; what names none may hold MR."""
    named = {"1.1": ["CT"], "1.2": ["CT", "MR"], "1.3": ["MR"], "1.4": None}
    found = [{"0020000D": {"vr": "UI", "Value": [study]}} for study in named]
    for match, modalities in zip(found, named.values(), strict=True):
        if modalities:
            match["00080061"] = {"vr": "CS", "Value": modalities}
    script.gives(as_json(found))
    assert [held.study for held in archive.studies()] == ["1.2", "1.3", "1.4"]


def test_the_inventory_keeps_apart_what_repeats_a_uid(script, archive):
    """The same SOP Instance UID in two series is two images; a CT series is none of ours."""

    def answer(asked: Asked) -> Answer:
        if "/instances" in asked.path:
            found = [{"0020000E": series, "00080018": INSTANCE_UID} for series in (ONE, TWO, CT)]
        else:
            modality = {"vr": "CS", "Value": ["CT"]}
            found = [{"0020000E": ONE}, {"0020000E": CT, "00080060": modality}]
        return as_json(found)

    script.answer = answer
    assert archive.inventory(STUDY) == [f"1.1/{INSTANCE}", f"1.2/{INSTANCE}"]


def test_files_come_as_they_are_stored(script, archive, server):
    """The bytes between the boundaries are given, in any transfer syntax, parsed by nobody."""
    script.gives(as_part(b"no\r\nDICOM\r\n\r\n"))
    assert dict(archive.fetch([KEY])) == {KEY: b"no\r\nDICOM\r\n\r\n"}
    assert "transfer-syntax=*" in server.asked[0].headers["Accept"]
    script.gives(Answer(200, small_file(), {"Content-Type": "application/dicom"}))
    assert dict(archive.fetch([KEY])) == {KEY: small_file()}


def test_a_report_that_is_no_dicom_is_unavailable(script, archive):
    """What comes back as a stored object and is none is no report and no crash."""
    script.answer = lambda asked: (
        as_json([IDENTITY]) if "?" in asked.path else as_part(b"not DICOM")
    )
    with pytest.raises(ArchiveUnavailable, match="not DICOM"):
        archive.stored(STUDY, INSTANCE)


def test_a_server_that_ignores_the_filter_is_seen_through(script, archive):
    """Only the object that was asked for counts as stored."""
    script.gives(as_json([{**IDENTITY, "00080018": {"vr": "UI", "Value": ["7.7"]}}]))
    assert archive.stored(STUDY, INSTANCE) is None


@pytest.mark.parametrize("status", [200, 202, 409])
@pytest.mark.parametrize(
    "content_type", ["application/dicom+json", "application/dicom+json; charset=utf-8"]
)
@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (0x0110, ArchiveUnavailable),
        (0xA700, ArchiveUnavailable),
        (0xA7FF, ArchiveUnavailable),
        (0xA900, BrokenStudy),
        (0x0122, BrokenStudy),
        (0xC000, BrokenStudy),
    ],
)
def test_an_object_that_is_not_kept_is_an_error(
    script, archive, status, content_type, reason, error
):
    """A failure in the answer counts whatever the status, and its reason decides on a retry."""
    script.gives(refusal(reason, status, content_type))
    with pytest.raises(error, match=f"{reason:04X}H"):
        archive.store(small_object())


@pytest.mark.parametrize("status", [202, 409])
def test_an_object_that_is_there_already_is_stored(script, archive, status):
    """A refusal as a duplicate is what storing again is allowed to be."""
    script.gives(refusal(0x0111, status))
    archive.store(small_object())


def test_what_is_sent_is_a_whole_file(script, archive, server):
    """An object goes out with preamble and file meta information (PS3.10 7.1)."""
    script.gives(as_json({}))
    archive.store(small_object())
    assert small_file() in server.asked[0].body


def test_a_user_is_sent_in_utf8_to_the_full_address(script, archive, server):
    """Any password can be sent, and Host has its port (RFC 9110 7.2)."""
    script.gives(as_json([]))
    archive.check()
    (asked,) = server.asked
    assert asked.headers["Authorization"] == "Basic c29tZW9uZTpzw6ljcmV04pyT"
    assert f"http://{asked.headers['Host']}/rs" == server.url


def test_a_token_is_read_anew_for_each_request(script, server, tmp_path):
    """A token that was rotated is used by the next request."""
    script.gives(as_json([]))
    file = tmp_path / "token"
    with DicomwebArchive.connect(server.url, Access(token_file=file)) as archive:
        for token in ("first", "second"):
            file.write_text(f"{token}\n")
            archive.check()
    assert [asked.headers["Authorization"] for asked in server.asked] == [
        "Bearer first",
        "Bearer second",
    ]


@pytest.mark.parametrize("content", [None, b"", b"two words", b"two\nlines", b"\xff\xfe"])
def test_a_file_without_a_token_names_the_variable(script, server, tmp_path, content):
    """A missing, empty or odd token is said to be so and sent nowhere, nor quoted."""
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with (
        DicomwebArchive.connect(server.url, Access(token_file=file)) as archive,
        pytest.raises(BadSettings, match="LUMBAR_DICOMWEB_TOKEN_FILE") as raised,
    ):
        archive.check()
    assert "two" not in str(raised.value)
    assert not server.asked
