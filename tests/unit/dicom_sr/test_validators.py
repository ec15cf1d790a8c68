"""Third-party validators accept the SR: dicom3tools, dcmtk, highdicom and PixelMed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import highdicom
import pytest
from pydicom import Dataset, dcmwrite

from dicom_sr.findings import Level, NotAssessed, NotAssessedReason, Report
from dicom_sr.writer import write
from tests import support

pytestmark = pytest.mark.slow


JAVA = (
    # It ends before an optimising compiler pays off.
    *("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx2g"),
    # Since JDK 17, XPath has limits that its style sheets are beyond.
    *(f"-Djdk.xml.{limit}=0" for limit in ("xpathExprGrpLimit", "xpathExprOpLimit")),
    *("-Djdk.xml.xpathTotalOpLimit=0", "-cp", "/usr/share/java/pixelmed.jar"),
)
"""How Debian's libpixelmed-java is started."""

VALIDATE_ALL = str(Path(support.__file__).with_name("ValidateAll.java"))


def tool(name: str) -> str:
    """The path of an executable beside this Python or on the PATH; its absence fails."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"{name} is not installed"
    return found


@dataclass(frozen=True)
class Written:
    """An SR on disk, what it says, and the files that it refers to."""

    file: Path
    report: Report
    referred: list[Path]


@pytest.fixture
def few(report: Report, report_with: Callable[..., Report]) -> Report:
    """The L4/L5 targets graded, each on one frame; templates are the same in every group."""
    reason = NotAssessedReason.UNCERTAIN
    return report_with(
        {
            finding.target: replace(finding, point=replace(finding.point, image=finding.graded_on))
            if finding.target.level is Level.L4_L5
            else NotAssessed(finding.target, reason)
            for finding in report.graded
        }
    )


KINDS = ("graded and not", "nothing assessed", "revision", "enhanced multi-frame")


@pytest.fixture
def write_kind(
    report: Report,
    nothing_assessed: Report,
    few: Report,
    sources: list[Dataset],
    written: Dataset,
    encoded: Callable[[Dataset], bytes],
    tmp_path: Path,
) -> Callable[[str], Written]:
    """Write an SR with grades, without any, revising another, or with every point on a frame."""

    def write_one(kind: str) -> Written:
        content, images, revised = {
            "graded and not": (report, sources, None),
            "nothing assessed": (nothing_assessed, sources, None),
            "revision": (few, sources, written),
            "enhanced multi-frame": (few, sources[-1:], None),
        }[kind]
        sr = write(
            content,
            images,
            software_version="1",
            pipeline_version=1,
            fingerprint="f",
            predecessor=revised,
        )
        folder = tmp_path / kind.replace(" ", "_")
        folder.mkdir()
        path = folder / "report.dcm"
        path.write_bytes(encoded(sr))
        referred = []
        for n, dataset in enumerate([*images, *([] if revised is None else [revised])]):
            referred.append(folder / f"{n}.dcm")
            dcmwrite(referred[-1], dataset, implicit_vr=False, little_endian=True)
        return Written(path, content, referred)

    return write_one


@pytest.fixture(params=KINDS)
def written_file(request: pytest.FixtureRequest, write_kind: Callable[[str], Written]) -> Written:
    """Each kind of SR."""
    return write_kind(request.param)


@pytest.fixture
def file(written_file: Written) -> Path:
    """The SR alone."""
    return written_file.file


def test_dciodvfy_finds_no_error(file: Path) -> None:
    """The SR is a valid Comprehensive SR to dicom3tools."""
    run = subprocess.run([tool("dciodvfy"), file], capture_output=True, text=True, check=False)
    lines = (run.stdout + run.stderr).splitlines()
    assert "ComprehensiveSR" in lines
    assert [line for line in lines if line.startswith("Error")] == []


def test_dcentvfy_finds_patient_and_study_consistent(written_file: Written) -> None:
    """SR, images and predecessor agree on their patient and study, byte for byte."""
    run = subprocess.run(
        [tool("dcentvfy"), written_file.file, *written_file.referred],
        capture_output=True,
        encoding="latin-1",
        check=False,
    )
    lines = (run.stdout + run.stderr).splitlines()
    assert [line for line in lines if line.startswith("Error")] == []


def test_dcmtk_reads_the_tree(file: Path) -> None:
    """dsrdump prints the document, its points and its reasons without complaint."""
    run = subprocess.run(
        [tool("dsrdump"), file], capture_output=True, encoding="latin-1", check=False
    )
    assert run.returncode == 0
    assert not [line for line in run.stderr.splitlines() if line.startswith(("E:", "F:"))]
    assert "Not assessed because" in run.stdout


def test_highdicom_reads_the_groups(written_file: Written) -> None:
    """highdicom takes it for a measurement report, also where no group is in it."""
    sr = highdicom.sr.srread(written_file.file)
    groups = sr.content.get_image_measurement_groups()
    assert len(groups) == len(written_file.report.graded)
    for group in groups:
        assert group.tracking_uid
        assert group.finding_sites


def test_pixelmed_finds_no_error_in_the_templates(write_kind: Callable[[str], Written]) -> None:
    """The trees keep to TID 1500 and what it includes; extensions are warnings.

    All documents in one call: compiling the style sheets takes longest.
    """
    files = [write_kind(kind).file for kind in KINDS]
    run = subprocess.run(
        [tool("java"), *JAVA, VALIDATE_ALL, *files], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    reports = run.stdout.split("File ")[1:]
    assert [Path(report.splitlines()[0]) for report in reports] == files
    for report in reports:
        lines = report.splitlines()
        assert "Found Root Template TID_1500 (MeasurementReport)" in lines, report
        assert "IOD validation complete" in lines, report
        assert [line for line in lines if line.startswith("Error")] == []
