"""The laws of the `Archive` protocol, over every adapter: folder, Orthanc's REST and DICOMweb.

Orthanc's plugin is the DICOMweb server.
"""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid

from deploy.demo import arrival, stack
from dicom_sr import reader
from tests.support.enhanced import enhance_study
from worker.approaches import load_bundle
from worker.archive import Archive, dicomweb, orthanc
from worker.archive.dicomweb import DicomwebArchive
from worker.archive.dicomweb_session import Access
from worker.archive.folder import FolderArchive
from worker.archive.orthanc import OrthancArchive
from worker.domain.graded_study import GradedStudy
from worker.domain.study import Series
from worker.errors import BadSettings, SeveralPatients, StudyGone
from worker.intake.decoding import decode
from worker.intake.headers import read_study
from worker.intake.routing import route
from worker.models.bundle import Bundle
from worker.phantom import SMALL, make_phantom, write_phantom
from worker.pipeline import grade
from worker.report.structured import structured_report

SEEDS = {"classic": 41, "enhanced": 43}
ADAPTERS = ("folder", "orthanc", "dicomweb")
on_servers = pytest.mark.parametrize("kept", ADAPTERS[1:], indirect=True, scope="module")
"""A folder has no password, and what is in its output folder belongs to any study."""


@dataclass(frozen=True)
class Kept:
    """One adapter: the archive, what it calls each phantom, and names of what it lacks."""

    adapter: str
    archive: Archive
    studies: dict[str, str]
    no_study: str
    no_key: str


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of a phantom in classic images, with a name that is not ASCII, and an enhanced."""
    folder = tmp_path_factory.mktemp("phantoms")
    for kind, seed in SEEDS.items():
        write_phantom(make_phantom(seed, slices=SMALL), folder / kind)
    enhance_study(folder / "enhanced")
    for path in (folder / "classic").rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.SpecificCharacterSet, dataset.PatientName = "ISO_IR 100", "Müller^Phantom"
        dataset.save_as(path)
    return {kind: folder / kind for kind in SEEDS}


@pytest.fixture(scope="module")
def uids(phantoms: dict[str, Path]) -> dict[str, str]:
    """The Study Instance UID of each phantom."""
    files = {kind: next(folder.rglob("*.dcm")) for kind, folder in phantoms.items()}
    return {kind: str(pydicom.dcmread(file).StudyInstanceUID) for kind, file in files.items()}


@pytest.fixture(scope="module")
def orthanc_ids(
    phantoms: dict[str, Path], uids: dict[str, str], orthanc_server: stack.OrthancServer
) -> Iterator[dict[str, str]]:
    """Orthanc's id of each phantom, once all of it is there; afterwards it is not."""
    with orthanc_server.client() as client:
        for folder in phantoms.values():
            arrival.send(client, sorted(folder.rglob("*.dcm")))
        found = {kind: arrival.orthanc_study(client, uid) for kind, uid in uids.items()}
        yield found
        for study in found.values():
            client.delete(f"/studies/{study}").raise_for_status()


@pytest.fixture(scope="module", params=ADAPTERS)
def kept(request: pytest.FixtureRequest, phantoms: dict[str, Path]) -> Iterator[Kept]:
    """The phantoms in each archive in turn; the servers keep what others stored."""
    adapter = request.param
    if adapter == "folder":
        studies = {kind: str(folder) for kind, folder in phantoms.items()}
        output = phantoms["classic"] / "reports"
        yield Kept(adapter, FolderArchive(output), studies, "/none", "/none/at/all.dcm")
        return
    server = request.getfixturevalue("orthanc_server")
    ids, uids = (request.getfixturevalue(name) for name in ("orthanc_ids", "uids"))
    with connected(adapter, server, server.password) as archive:
        if adapter == "orthanc":
            gone = "-".join(["00000000"] * 5)
            yield Kept(adapter, archive, ids, gone, gone)
        else:
            yield Kept(adapter, archive, uids, "1.2.3", f"{uids['classic']}/1.2/1.2.3")


def connected(
    adapter: str, server: stack.OrthancServer, password: str
) -> OrthancArchive | DicomwebArchive:
    if adapter == "orthanc":
        return OrthancArchive.connect(server.url, server.username, password)
    access = Access(username=server.username, password=password)
    return DicomwebArchive.connect(f"{server.url}/dicom-web", access)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """The shipped bundle."""
    return load_bundle(device="cpu")


@pytest.fixture(scope="module")
def graded(phantoms: dict[str, Path], bundle: Bundle) -> GradedStudy:
    """The classic phantom graded from its folder, before any report is in it."""
    return grade(str(phantoms["classic"]), FolderArchive(), bundle)


def without_keys(series: Series) -> Series:
    """A series as it is whatever its archive calls its objects, and in one order."""
    slices = [replace(one, key="") for one in series.slices]
    order = sorted(slices, key=lambda one: (one.image.sop_instance_uid, one.image.frame or 0))
    return replace(series, slices=tuple(order))


@pytest.mark.parametrize("kind", SEEDS)
def test_headers_say_the_same_everywhere(kept: Kept, phantoms: dict[str, Path], kind: str) -> None:
    """Planes, physics, texts and repairs of every series, and so its role, are the files'."""
    expected = read_study(FolderArchive().headers(str(phantoms[kind])))
    found = read_study(kept.archive.headers(kept.studies[kind]))
    assert found.study_instance_uid == expected.study_instance_uid
    assert found.repairs == expected.repairs
    assert [without_keys(s) for s in found.series] == [without_keys(s) for s in expected.series]
    assert route(found).decisions == route(expected).decisions


@pytest.mark.parametrize("kind", SEEDS)
def test_headers_are_those_of_the_files(kept: Kept, phantoms: dict[str, Path], kind: str) -> None:
    """Every attribute but private ones and pixels comes back equal, and no other does."""
    headers = [
        pydicom.dcmread(path, stop_before_pixels=True) for path in phantoms[kind].rglob("*.dcm")
    ]
    files = {header.SOPInstanceUID: header for header in headers}
    found = {
        instance.header.SOPInstanceUID: instance.header
        for instance in kept.archive.headers(kept.studies[kind])
    }
    assert found.keys() == files.keys()
    for uid, header in found.items():
        original = files[uid]
        original.remove_private_tags()
        if kept.adapter == "dicomweb":  # JSON is Unicode
            original.SpecificCharacterSet = "ISO_IR 192"
        assert list(header) == list(original)


@pytest.mark.parametrize("kind", SEEDS)
def test_fetch_gives_every_whole_object_once(
    kept: Kept, phantoms: dict[str, Path], kind: str
) -> None:
    """Each key gives its own object, in whatever order; one that is gone is left out."""
    files = {
        str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID): path.read_bytes()
        for path in phantoms[kind].rglob("*.dcm")
    }
    wanted = {i.key: str(i.header.SOPInstanceUID) for i in kept.archive.headers(kept.studies[kind])}
    fetched = list(kept.archive.fetch([kept.no_key, *reversed(wanted)]))
    assert sorted(key for key, _ in fetched) == sorted(wanted)
    for key, content in fetched:
        original = files[wanted[key]]
        assert pydicom.dcmread(BytesIO(content)) == pydicom.dcmread(BytesIO(original))
        np.testing.assert_array_equal(decode(key, content), decode(key, original))


def test_an_unknown_study_is_gone(kept: Kept) -> None:
    """A study that the archive does not hold is said to be gone, and has no report."""
    with pytest.raises(StudyGone):
        kept.archive.headers(kept.no_study)


def test_the_same_report_comes_out(kept: Kept, graded: GradedStudy, bundle: Bundle) -> None:
    """Graded over each archive, the study gets the same report to the last bit."""
    assert grade(kept.studies["classic"], kept.archive, bundle).report == graded.report


@pytest.fixture
def document(
    kept: Kept, graded: GradedStudy, phantoms: dict[str, Path], request: pytest.FixtureRequest
) -> Iterator[Dataset]:
    """The report of the classic phantom, as if it replaced another; gone again afterwards."""
    document = structured_report(graded)
    document.PredecessorDocumentsSequence = [
        copy.deepcopy(document.CurrentRequestedProcedureEvidenceSequence[0])
    ]
    yield document
    if kept.adapter == "folder":
        shutil.rmtree(phantoms["classic"] / "reports")
        return
    with request.getfixturevalue("orthanc_server").client() as client:
        for match in client.post("/tools/lookup", content=document.SOPInstanceUID).json():
            client.delete(match["Path"]).raise_for_status()


def test_a_stored_report_comes_back(kept: Kept, graded: GradedStudy, document: Dataset) -> None:
    """A report is not there, then stored, and stored again, and comes back equal, once."""
    study, uid = kept.studies["classic"], str(document.SOPInstanceUID)
    assert kept.archive.stored(study, uid) is None
    for _ in range(2):
        kept.archive.store(document)
        back = kept.archive.stored(study, uid)
        assert isinstance(back, Dataset)
        assert reader.read(back) == graded.report
    headers = [i.header for i in kept.archive.headers(study)]
    (header,) = [header for header in headers if header.SOPInstanceUID == uid]
    for keyword in ("CodingSchemeIdentificationSequence", "PredecessorDocumentsSequence"):
        assert header[keyword] == document[keyword]


@on_servers
def test_a_stored_report_stays_as_it_is(kept: Kept, document: Dataset) -> None:
    """Another object under a SOP Instance UID that is there already does not replace it."""
    kept.archive.store(document)
    changed = copy.deepcopy(document)
    changed.SeriesDescription = "changed"
    kept.archive.store(changed)
    stored = kept.archive.stored(kept.studies["classic"], str(document.SOPInstanceUID))
    assert stored.SeriesDescription == document.SeriesDescription


@on_servers
def test_a_report_of_another_study_is_not_this_ones(kept: Kept, document: Dataset) -> None:
    """A report is only found in the study that it was stored in, and not in one unknown."""
    kept.archive.store(document)
    for study in (kept.studies["enhanced"], kept.no_study):
        assert kept.archive.stored(study, str(document.SOPInstanceUID)) is None


@dataclass(frozen=True)
class Mixed:
    """A study of one object in each series, and the SOP Instance UIDs by modality."""

    study_instance_uid: str
    orthanc_id: str
    instances: dict[str, str]


@pytest.fixture(scope="module")
def mixed(phantoms: dict[str, Path], orthanc_server: stack.OrthancServer) -> Iterator[Mixed]:
    """A study with MR, with a series that names no modality, and with what is none of ours."""
    uid, instances = generate_uid(), {}
    with orthanc_server.client() as client:
        for modality in ("MR", "", "CT", "SR", "PR"):
            dataset = pydicom.dcmread(next(phantoms["classic"].rglob("*.dcm")))
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid, generate_uid()
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            dataset.Modality = modality
            instances[modality] = str(dataset.SOPInstanceUID)
            buffer = BytesIO()
            dataset.save_as(buffer)
            client.post("/instances", content=buffer.getvalue()).raise_for_status()
        study = arrival.orthanc_study(client, uid)
        yield Mixed(uid, study, instances)
        client.delete(f"/studies/{study}").raise_for_status()


@pytest.mark.parametrize("page", [1, 2, 500])
@on_servers
def test_every_study_is_listed_once(
    kept: Kept, mixed: Mixed, orthanc_server: stack.OrthancServer, monkeypatch, page: int
) -> None:
    """However small its pages are, the list holds each study that has MR, and none twice."""
    for adapter in (orthanc, dicomweb):
        monkeypatch.setattr(adapter, "_PAGE", page)
    listed = [held.study for held in kept.archive.studies()]
    own = mixed.orthanc_id if kept.adapter == "orthanc" else mixed.study_instance_uid
    assert {*kept.studies.values(), own} <= set(listed)
    assert len(listed) == len(set(listed))


@on_servers
def test_a_study_that_changes_is_another_version(
    kept: Kept, document: Dataset, orthanc_server: stack.OrthancServer
) -> None:
    """An object that is new to a study shows in its version, and where it is told in its time."""

    def held():
        (one,) = (h for h in kept.archive.studies() if h.study == kept.studies["classic"])
        return one

    before = held()
    assert before == held()
    time.sleep(1.1)  # Orthanc's times are whole seconds
    kept.archive.store(document)
    after = held()
    assert after.version != before.version
    if kept.adapter == "orthanc":
        assert after.changed > before.changed
        assert abs((datetime.now(UTC) - after.changed).total_seconds()) < 60
        assert after.stable is False
        deadline = time.monotonic() + 20
        while not held().stable:
            assert time.monotonic() < deadline, "the study does not become stable"
            time.sleep(0.2)
    else:
        assert after.stable is None
        assert after.changed is None


@on_servers
@pytest.mark.parametrize("page", [1, 2, 500])
def test_the_inventory_is_the_mr_images(
    kept: Kept, mixed: Mixed, orthanc_server: stack.OrthancServer, monkeypatch, page: int
) -> None:
    """MR and what names no modality, each once; CT, reports and presentation states are not in."""
    monkeypatch.setattr(dicomweb, "_PAGE", page)
    own = mixed.orthanc_id if kept.adapter == "orthanc" else mixed.study_instance_uid
    found = list(kept.archive.inventory(own))
    with orthanc_server.client() as client:
        names = {
            modality: client.post("/tools/lookup", content=uid).json()[0]["ID"]
            for modality, uid in mixed.instances.items()
        }
    if kept.adapter == "orthanc":
        assert sorted(found) == sorted([names["MR"], names[""]])
    else:
        uids = [name.partition("/")[2] for name in found]
        assert sorted(uids) == sorted([mixed.instances["MR"], mixed.instances[""]])


@on_servers
def test_the_inventory_follows_the_images(
    kept: Kept, phantoms: dict[str, Path], document: Dataset
) -> None:
    """It names as many as the study has, is not changed by our report, and empty for no study."""
    study = kept.studies["classic"]
    found = sorted(kept.archive.inventory(study))
    assert len(set(found)) == len(list(phantoms["classic"].rglob("*.dcm")))
    kept.archive.store(document)
    assert sorted(kept.archive.inventory(study)) == found
    assert list(kept.archive.inventory(kept.no_study)) == []


@on_servers
def test_a_study_is_known_by_its_names(kept: Kept, uids: dict[str, str]) -> None:
    """The Study Instance UID and the archive's own name lead to the latter; nonsense to neither."""
    assert kept.archive.study_id(uids["classic"]) == kept.studies["classic"]
    assert kept.archive.study_id(kept.studies["classic"]) == kept.studies["classic"]
    with pytest.raises(StudyGone):
        kept.archive.study_id("DOE^JANE")


def test_metadata_are_stored_with_a_study(
    orthanc_ids: dict[str, str], orthanc_server: stack.OrthancServer
) -> None:
    """Orthanc returns what was written last, with any characters, and nothing once deleted."""
    study, other = orthanc_ids["classic"], orthanc_ids["enhanced"]
    with connected("orthanc", orthanc_server, orthanc_server.password) as archive:
        assert isinstance(archive, OrthancArchive)
        assert archive.read_metadata(study) is None
        for text in ('{"reason": "weil µ"}', "x" * 20_000, ""):
            archive.write_metadata(study, text)
            assert archive.read_metadata(study) == text
            assert archive.read_metadata(other) is None
        archive.write_metadata(study, None)
        archive.write_metadata(study, None)
        assert archive.read_metadata(study) is None


def test_metadata_of_a_deleted_study_are_an_error(orthanc_server: stack.OrthancServer) -> None:
    """Nothing can be stored with a deleted study; deleting its metadata is no error."""
    gone = "-".join(["00000000"] * 5)
    with connected("orthanc", orthanc_server, orthanc_server.password) as archive:
        assert isinstance(archive, OrthancArchive)
        assert archive.read_metadata(gone) is None
        archive.write_metadata(gone, None)
        with pytest.raises(StudyGone):
            archive.write_metadata(gone, "text")


@on_servers
@pytest.mark.parametrize("call", ["check", "headers", "fetch", "stored", "studies", "inventory"])
def test_a_wrong_password_names_the_variable(
    kept: Kept, orthanc_server: stack.OrthancServer, call: str
) -> None:
    """The error says which variables to set, and quotes no credentials."""
    study = kept.studies["classic"]
    with connected(kept.adapter, orthanc_server, "wrong-password") as closed:
        asked: dict[str, Callable[[], object]] = {
            "check": closed.check,
            "headers": lambda: closed.headers(study),
            "fetch": lambda: list(closed.fetch([kept.no_key])),
            "stored": lambda: closed.stored(study, "1.2.3"),
            "studies": lambda: list(closed.studies()),
            "inventory": lambda: closed.inventory(study),
        }
        with pytest.raises(BadSettings, match=f"LUMBAR_{kept.adapter.upper()}_PASSWORD") as raised:
            asked[call]()
    assert "wrong-password" not in str(raised.value)
    assert orthanc_server.url in str(raised.value)


def test_two_patients_under_one_study_uid_are_refused(
    phantoms: dict[str, Path], orthanc_server: stack.OrthancServer, tmp_path: Path
) -> None:
    """Orthanc keeps them apart as two studies; neither is graded in one name."""
    study = generate_uid()
    ids = []
    with orthanc_server.client() as client:
        for patient in ("A-1", "B-2"):
            for path in sorted(phantoms["classic"].rglob("*.dcm"))[:3]:
                dataset = pydicom.dcmread(path)
                dataset.StudyInstanceUID, dataset.PatientID = study, patient
                dataset.SeriesInstanceUID = f"{study}.{ord(patient[0])}"
                dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = (
                    generate_uid()
                )
                buffer = BytesIO()
                dataset.save_as(buffer, enforce_file_format=True)
                answer = client.post("/instances", content=buffer.getvalue()).raise_for_status()
            ids.append(answer.json()["ParentStudy"])
        assert len(set(ids)) == 2
        with OrthancArchive.connect(
            orthanc_server.url, orthanc_server.username, orthanc_server.password
        ) as archive:
            for one in ids:
                with pytest.raises(SeveralPatients, match="Patient ID"):
                    archive.headers(one)
        for one in ids:
            client.delete(f"/studies/{one}").raise_for_status()


@pytest.mark.parametrize("name", ["aaa\n", "../../tools/shutdown?x=", "", "1.2.3", "a" * 44])
def test_a_name_that_is_no_id_reaches_no_other_route(
    name: str, orthanc_server: stack.OrthancServer
) -> None:
    """Every request for it is refused before it is sent."""
    with OrthancArchive.connect(
        orthanc_server.url, orthanc_server.username, orthanc_server.password
    ) as archive:
        for call in (archive.headers, archive.inventory, archive.read_metadata):
            with pytest.raises(StudyGone):
                call(name)
        with pytest.raises(StudyGone):
            archive.write_metadata(name, "text")
