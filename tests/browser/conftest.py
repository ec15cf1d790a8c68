"""Fixtures: a real Chromium, Orthanc and nginx, and graded phantoms in Orthanc."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from deploy.demo import arrival, stack, viewer
from dicom_sr import reader
from dicom_sr.findings import Condition, Level, Report, Severity, Side, Target
from tests.support.enhanced import enhance_study
from tests.support.needs import cannot_run
from worker.approaches import load_bundle
from worker.archive.folder import FolderArchive
from worker.domain.study import Role
from worker.phantom import SMALL, Phantom, make_phantom, write_phantom
from worker.pipeline import grade
from worker.report.structured import structured_report

LESIONS = {
    Target(Condition.SPINAL_CANAL_STENOSIS, Level.L3_L4): Severity.SEVERE,
    Target(Condition.SUBARTICULAR_STENOSIS, Level.L4_L5, Side.LEFT): Severity.SEVERE,
    Target(Condition.NEURAL_FORAMINAL_NARROWING, Level.L5_S1, Side.RIGHT): Severity.SEVERE,
}
WINDOW = {"width": 1600, "height": 900}
# WebGL without a GPU, and no background network traffic.
CHROMIUM = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-dev-shm-usage",
]


@dataclass(frozen=True)
class Graded:
    """A study in Orthanc with its report."""

    folder: Path
    report: Report
    document: pydicom.Dataset
    headers: dict[str, pydicom.Dataset]


@dataclass
class Visit:
    """A page and the errors on it."""

    page: Page
    problems: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def viewer_folder() -> Path:
    """The installed viewer; the test cannot run without it."""
    folder = viewer.installed()
    if folder is None or not stack.found("chromium") or not stack.found("nginx"):
        cannot_run("viewer, chromium or nginx missing: make test installs them")
    return folder


@pytest.fixture(scope="package")
def chromium(viewer_folder: Path) -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=stack.binary("chromium"), args=CHROMIUM
        )
        yield browser
        browser.close()


@pytest.fixture(scope="package", params=["orthanc", "nginx"])
def root(
    request: pytest.FixtureRequest,
    orthanc_server: stack.OrthancServer,
    viewer_folder: Path,
    servers_folder: Path,
) -> Iterator[str]:
    """Where the viewer is served: by Orthanc's plugin, and by nginx in front of Orthanc."""
    if request.param == "orthanc":
        yield orthanc_server.url
        return
    with viewer.nginx(servers_folder, orthanc_server, viewer_folder) as server:
        yield server.url


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    """A synthetic study with three severe lesions."""
    return make_phantom(4, LESIONS)


@pytest.fixture(scope="session")
def graded(
    phantom: Phantom,
    orthanc_server: stack.OrthancServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Graded:
    """The phantom in Orthanc, graded by the shipped bundle, with its report."""
    folder = tmp_path_factory.mktemp("viewed")
    write_phantom(phantom, folder)
    return put(folder, orthanc_server)


@pytest.fixture(scope="session")
def graded_enhanced(
    orthanc_server: stack.OrthancServer, tmp_path_factory: pytest.TempPathFactory
) -> Graded:
    """Another phantom, small and of enhanced multi-frame objects, in Orthanc and graded."""
    folder = tmp_path_factory.mktemp("enhanced")
    write_phantom(make_phantom(5, LESIONS, slices=SMALL), folder)
    enhance_study(folder)
    return put(folder, orthanc_server)


@pytest.fixture(scope="session")
def graded_in_part(
    orthanc_server: stack.OrthancServer, tmp_path_factory: pytest.TempPathFactory
) -> Graded:
    """A third phantom, without its axial series, in Orthanc and graded."""
    folder = tmp_path_factory.mktemp("part")
    phantom = make_phantom(6, LESIONS, slices=SMALL)
    write_phantom(phantom, folder)
    (axial,) = folder.rglob(phantom.of(Role.AXIAL_T2).series_instance_uid)
    shutil.rmtree(axial)
    return put(folder, orthanc_server)


def put(folder: Path, orthanc: stack.OrthancServer) -> Graded:
    """Grade a study and store it with its report."""
    document = structured_report(grade(str(folder), FolderArchive(), load_bundle(device="cpu")))
    files = sorted(folder.rglob("*.dcm"))
    headers = [pydicom.dcmread(file) for file in files]
    buffer = BytesIO()
    document.save_as(buffer, enforce_file_format=True)
    with orthanc.client() as client:
        arrival.send(client, files)
        client.post("/instances", content=buffer.getvalue()).raise_for_status()
    by_uid = {str(header.SOPInstanceUID): header for header in headers}
    return Graded(folder, reader.read(document), document, by_uid)


@pytest.fixture
def visit(chromium: Browser, orthanc_server: stack.OrthancServer, root: str) -> Iterator[Visit]:
    """A page with a new profile that records errors and requests to other hosts."""
    login = {"username": orthanc_server.username, "password": orthanc_server.password}
    context = chromium.new_context(http_credentials=login, viewport=WINDOW)
    page = context.new_page()
    visit = Visit(page)
    note = visit.problems.append
    page.on("console", lambda m: note(f"console: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda error: note(f"script: {error}"))
    page.on("requestfailed", lambda request: note(f"failed: {request.url}"))
    page.on("response", lambda r: note(f"{r.status}: {r.url}") if r.status >= 400 else None)
    page.on("request", lambda r: None if _ours(r.url, root) else note(f"outside: {r.url}"))
    yield visit
    context.close()


def _ours(url: str, root: str) -> bool:
    return url.startswith((root, f"blob:{root}", "data:"))
