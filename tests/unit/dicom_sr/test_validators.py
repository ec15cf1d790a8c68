"""What other people's tools say about the SR: dicom3tools, dcmtk and highdicom."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import highdicom
import pytest
from pydicom import Dataset, dcmwrite

from dicom_sr.findings import Report
from dicom_sr.writer import write


def tool(name: str) -> str:
    """The path of an executable beside this Python or on the PATH; its absence fails."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"{name} is not installed"
    return found


@pytest.fixture(params=["graded and not", "nothing assessed"])
def file(
    request: pytest.FixtureRequest,
    written: Dataset,
    nothing_assessed: Report,
    sources: list[Dataset],
    encoded: Callable[[Dataset], bytes],
    tmp_path: Path,
) -> Path:
    """An SR on disk, with grades on frames and without any grade."""
    sr = written
    if request.param == "nothing assessed":
        sr = write(nothing_assessed, sources, software_version="1", fingerprint="f")
    path = tmp_path / "report.dcm"
    path.write_bytes(encoded(sr))
    return path


def test_dciodvfy_finds_no_error(file: Path) -> None:
    """The SR is a valid Comprehensive SR to dicom3tools."""
    run = subprocess.run([tool("dciodvfy"), file], capture_output=True, text=True, check=False)
    lines = (run.stdout + run.stderr).splitlines()
    assert "ComprehensiveSR" in lines
    assert [line for line in lines if line.startswith("Error")] == []


def test_dcentvfy_finds_patient_and_study_consistent(
    file: Path, sources: list[Dataset], tmp_path: Path
) -> None:
    """SR and images agree on their patient and study, byte for byte."""
    paths = [file]
    for n, header in enumerate(sources):
        paths.append(tmp_path / f"source-{n}.dcm")
        dcmwrite(paths[-1], header, implicit_vr=False, little_endian=True)
    run = subprocess.run(
        [tool("dcentvfy"), *paths], capture_output=True, encoding="latin-1", check=False
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


def test_highdicom_reads_the_groups(file: Path, report: Report) -> None:
    """highdicom takes it for a measurement report, also where no group is in it."""
    sr = highdicom.sr.srread(file)
    groups = sr.content.get_image_measurement_groups()
    assert len(groups) in (0, len(report.graded))
    for group in groups:
        assert group.tracking_uid
        assert group.finding_sites
