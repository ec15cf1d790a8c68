"""However the patient lay and the slices were stored: left stays left, and points stay put."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from dicom_sr.findings import TARGETS, ImagePoint, ImageReference, Side, Target
from worker.archive.folder import FolderArchive
from worker.domain.geometry import Orientation, Plane
from worker.domain.graded_study import GradedStudy
from worker.models.bundle import Bundle
from worker.phantom import SMALL, Phantom, make_phantom, write_phantom
from worker.pipeline import grade

SEED = 3
MOVED_PX = 0.05
TRUTH_MM = 6.0
"""How far stage 1 may be from the phantom's truth; left and right lie 15 mm and more apart."""

POSITIONS = {
    # Rows and columns run along the scanner's axes, whatever way the patient lies in it:
    # on sagittal and on axial slices columns (c) or rows (r) reversed, or exchanged (t).
    "HFS": ("", ""),
    "FFS": ("r", "c"),
    "HFP": ("c", "cr"),
    "FFP": ("cr", "r"),
    "HFDR": ("", "tc"),
    "FFDL": ("cr", "t"),
    # Sagittal slices that lie on their sides.
    "head to the left": ("t", ""),
    "head to the right, mirrored": ("tcr", "cr"),
}


def stored(plane: Plane, how: str) -> Plane:
    """The same slice with rows and columns exchanged (t), then columns or rows reversed."""
    if "t" in how:
        plane = Plane(
            position_mm=plane.position_mm,
            along_columns=plane.along_rows,
            along_rows=plane.along_columns,
            row_spacing_mm=plane.column_spacing_mm,
            column_spacing_mm=plane.row_spacing_mm,
            rows=plane.columns,
            columns=plane.rows,
        )
    corner = plane.to_mm(
        plane.columns - 1 if "c" in how else 0, plane.rows - 1 if "r" in how else 0
    )
    signs = (-1 if "c" in how else 1), (-1 if "r" in how else 1)
    return replace(
        plane,
        position_mm=tuple(corner.tolist()),
        along_columns=tuple(np.multiply(signs[0], plane.along_columns).tolist()),
        along_rows=tuple(np.multiply(signs[1], plane.along_rows).tolist()),
    )


def pixels_stored(pixels: np.ndarray, how: str) -> np.ndarray:
    """The pixels of that slice, shape (rows, columns)."""
    pixels = pixels.T if "t" in how else pixels
    return pixels[:: -1 if "r" in how else 1, :: -1 if "c" in how else 1]


def plane_of(header: Dataset) -> Plane:
    x, y, z, *rest = map(float, header.ImageOrientationPatient)
    return Plane(
        position_mm=tuple(map(float, header.ImagePositionPatient)),
        along_columns=(x, y, z),
        along_rows=tuple(rest),
        row_spacing_mm=float(header.PixelSpacing[0]),
        column_spacing_mm=float(header.PixelSpacing[1]),
        rows=header.Rows,
        columns=header.Columns,
    )


def put(header: Dataset, plane: Plane) -> None:
    header.ImagePositionPatient = [round(v, 6) for v in plane.position_mm]
    header.ImageOrientationPatient = [
        round(v, 9) for v in (*plane.along_columns, *plane.along_rows)
    ]
    header.PixelSpacing = [plane.row_spacing_mm, plane.column_spacing_mm]
    header.Rows, header.Columns = plane.rows, plane.columns


def rewritten(folder: Path, change: Callable[[Dataset], None]) -> None:
    for path in folder.rglob("*.dcm"):
        dataset = dcmread(path)
        change(dataset)
        dataset.save_as(path, enforce_file_format=True)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(SEED, slices=SMALL)


@pytest.fixture(scope="module")
def as_made(
    phantom: Phantom, quick_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> GradedStudy:
    """The phantom as it is made: head first, supine, every slice upright."""
    folder = tmp_path_factory.mktemp("positions")
    write_phantom(phantom, folder)
    return grade(str(folder), FolderArchive(), quick_bundle)


def planes(study: GradedStudy) -> dict[ImageReference, Plane]:
    return {h.image: h.plane for v in study.volumes.all for h in v.slices}


def position_mm(study: GradedStudy, point: ImagePoint) -> np.ndarray:
    return planes(study)[point.image].to_mm(point.column, point.row)


def check_sides(study: GradedStudy, truth: Callable[[Target], np.ndarray]) -> None:
    """Every point lies near the truth of its own side and level, and lefts left of rights."""
    assert not study.report.not_assessed
    for target in TARGETS:
        found = position_mm(study, study.report[target].point)
        expected = truth(target)
        # Sagittal slices lie 4 mm apart: what they show is told within their plane.
        assert np.linalg.norm((found - expected)[1:]) < TRUTH_MM, str(target)
        if target.side is not None:
            other = replace(target, side=Side.RIGHT if target.side is Side.LEFT else Side.LEFT)
            assert abs(found[0] - expected[0]) < abs(found[0] - truth(other)[0]), str(target)


@pytest.mark.slow
@pytest.mark.parametrize("position", POSITIONS)
def test_every_position_gives_the_same_findings(
    position: str, phantom: Phantom, as_made: GradedStudy, quick_bundle: Bundle, tmp_path: Path
) -> None:
    """Turned and mirrored storage gives the same grades at the same places of the patient."""
    ways = dict(zip((Orientation.SAGITTAL, Orientation.AXIAL), POSITIONS[position], strict=True))

    def change(dataset: Dataset) -> None:
        plane = plane_of(dataset)
        how = ways[plane.orientation]
        dataset.PixelData = np.ascontiguousarray(pixels_stored(dataset.pixel_array, how)).tobytes()
        put(dataset, stored(plane, how))
        dataset.PatientPosition = position if len(position) < 5 else "HFS"

    write_phantom(phantom, tmp_path)
    rewritten(tmp_path, change)
    study = grade(str(tmp_path), FolderArchive(), quick_bundle)
    check_sides(study, lambda target: np.array(phantom.points[target].patient_mm))
    spacing = max(plane.column_spacing_mm for plane in planes(study).values())
    for target in TARGETS:
        one, other = study.report[target], as_made.report[target]
        moved = position_mm(study, one.point) - position_mm(as_made, other.point)
        assert one.point.image == other.point.image
        assert np.linalg.norm(moved) < MOVED_PX * spacing, str(target)
        assert one.probabilities.severe == pytest.approx(other.probabilities.severe, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("about_mm", "degrees"),
    [((0, 0, 1), 12), ((0, 1, 0), -8)],
    ids=["turned", "leaning"],
)
def test_a_patient_who_lies_askew_keeps_his_sides(
    about_mm: tuple[int, int, int],
    degrees: float,
    phantom: Phantom,
    quick_bundle: Bundle,
    tmp_path: Path,
) -> None:
    """The whole patient rotated and moved in space: every point goes with him, side by side."""
    angle, axis = np.radians(degrees), np.array(about_mm, float)
    cross = np.cross(np.eye(3), axis)
    rotation = np.eye(3) - np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    shift = np.array([13.0, -40.0, 220.0])

    def change(dataset: Dataset) -> None:
        plane = plane_of(dataset)
        turned = replace(
            plane,
            position_mm=tuple((rotation @ plane.position_mm + shift).tolist()),
            along_columns=tuple((rotation @ plane.along_columns).tolist()),
            along_rows=tuple((rotation @ plane.along_rows).tolist()),
        )
        put(dataset, turned)

    write_phantom(phantom, tmp_path)
    rewritten(tmp_path, change)
    study = grade(str(tmp_path), FolderArchive(), quick_bundle)
    check_sides(study, lambda t: rotation @ np.array(phantom.points[t].patient_mm) + shift)
