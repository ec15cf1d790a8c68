"""The Orthanc adapter against a real Orthanc: what goes in comes out."""

from io import BytesIO
from pathlib import Path

import pydicom
import pytest
import stack
from pydicom import Dataset

from worker.archive.orthanc import OrthancArchive
from worker.errors import BadSettings, StudyGone
from worker.phantom import SMALL, make_phantom, write_phantom

SEED = 41


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small phantom's files by SOP Instance UID, with a name that is not ASCII."""
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(make_phantom(SEED, slices=SMALL), folder)
    contents = {}
    for path in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.SpecificCharacterSet, dataset.PatientName = "ISO_IR 100", "Müller^Phantom"
        buffer = BytesIO()
        dataset.save_as(buffer)
        contents[dataset.SOPInstanceUID] = buffer.getvalue()
    return contents


@pytest.fixture(scope="module")
def archive(orthanc_server: stack.OrthancServer):
    """The adapter on the running Orthanc."""
    with OrthancArchive.connect(
        orthanc_server.url, orthanc_server.username, orthanc_server.password
    ) as archive:
        yield archive


@pytest.fixture(scope="module")
def study(files: dict[str, bytes], archive: OrthancArchive, orthanc_server: stack.OrthancServer):
    """The phantom's Orthanc id once all of it is stored by the adapter."""
    for content in files.values():
        archive.store(pydicom.dcmread(BytesIO(content)))
    with orthanc_server.client() as client:
        uid = str(pydicom.dcmread(BytesIO(next(iter(files.values())))).StudyInstanceUID)
        matches = client.post("/tools/lookup", content=uid).json()
    return next(match["ID"] for match in matches if match["Type"] == "Study")


def test_headers_are_those_of_the_files(files, archive, study):
    """Every attribute but the private ones and the pixels comes back equal, and no other does."""
    instances = archive.headers(study)
    assert {i.header.SOPInstanceUID for i in instances} == files.keys()
    for instance in instances:
        original = pydicom.dcmread(
            BytesIO(files[instance.header.SOPInstanceUID]), stop_before_pixels=True
        )
        original.remove_private_tags()
        assert list(instance.header) == list(original)


def test_fetch_gives_every_file_once(files, archive, study):
    """Each key gives its own file, whatever order the four threads end in."""
    keys = {i.key: i.header.SOPInstanceUID for i in archive.headers(study)}
    fetched = list(archive.fetch([*keys, "no-such-instance"]))
    assert sorted(key for key, _ in fetched) == sorted(keys)
    for key, content in fetched:
        got = pydicom.dcmread(BytesIO(content))
        assert got == pydicom.dcmread(BytesIO(files[keys[key]]))


def test_storing_again_changes_nothing(files, archive, study):
    """An object under a SOP Instance UID that is there already does not replace it."""
    uid, content = next(iter(files.items()))
    changed = pydicom.dcmread(BytesIO(content))
    changed.SeriesDescription = "changed"
    archive.store(changed)
    stored = archive.stored(study, uid)
    assert isinstance(stored, Dataset)
    assert stored == pydicom.dcmread(BytesIO(content))


def test_what_is_not_there_is_said_so(archive, study):
    """An unknown object is None, an unknown study StudyGone."""
    assert archive.stored(study, "1.2.3.4") is None
    with pytest.raises(StudyGone):
        archive.headers("00000000-00000000-00000000-00000000-00000000")


def test_a_wrong_password_names_the_variable(orthanc_server):
    """The real Orthanc's refusal becomes the instruction what to set."""
    with (
        OrthancArchive.connect(orthanc_server.url, "lumbar", "wrong") as closed,
        pytest.raises(BadSettings, match="LUMBAR_ORTHANC_PASSWORD"),
    ):
        closed.check()


def test_the_configuration_lets_nobody_in_by_default():
    """The shipped configuration asks for a user, names none, and listens to this machine only."""
    configuration = stack.read_json_with_comments(Path(stack.CONFIGURATION))
    assert configuration["AuthenticationEnabled"] is True
    assert configuration["RegisteredUsers"] == {}
    assert configuration["RemoteAccessAllowed"] is False
