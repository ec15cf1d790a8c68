"""A table's rows give the crops that the worker cuts from the same slices."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicom_sr.findings import ImageReference, Level, Severity, Side
from worker.datasets.foraminal import ForaminalRow
from worker.domain.geometry import Plane
from worker.domain.points import LevelPoint
from worker.domain.study import Role, SliceHeader
from worker.domain.volume import Volume
from worker.evaluation.crops import ForaminalCrops
from worker.grade.crop_windows import FORAMINAL_SHAPE, CropOptions, widened
from worker.grade.crops import Crops

OPTIONS = CropOptions()

ROWS, COLUMNS = 200, 160
XS = [4.5 * n for n in range(-4, 5)]
PLACES = {level: (80.0 - 3 * n, 40.0 + 30 * n) for n, level in enumerate(Level)}
"""(column, row) of the foramina of either side."""

BETWEEN = {Side.LEFT: (9.0, 13.5, 18.0), Side.RIGHT: (-9.0, -13.5, -18.0)}
"""Patient x of the slices on which foramina are marked, by side."""


@pytest.fixture(scope="module")
def pictures() -> dict[float, np.ndarray]:
    """A picture of noise, smooth enough to be resampled, for each slice by its patient x."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (len(XS), 25, 20), dtype=np.uint8)
    size = (COLUMNS, ROWS)
    return {x: np.asarray(Image.fromarray(g).resize(size)) for x, g in zip(XS, coarse, strict=True)}


@pytest.fixture
def stack(pictures) -> Volume:
    """The slices as the worker has them."""
    headers = []
    for n, x in enumerate(XS):
        plane = Plane((x, 0, 0), (0, 1, 0), (0, 0, -1), 1.0, 1.0, ROWS, COLUMNS)
        headers.append(SliceHeader(str(n), ImageReference("1.2", f"1.2.{n}"), n + 1, plane))
    headers.sort(key=lambda header: header.plane.offset_mm)
    pixels = np.stack([pictures[h.plane.position_mm[0]].astype(np.float32) for h in headers])
    return Volume(Role.SAGITTAL_T1, pixels, tuple(headers))


def table(pictures, folder: Path, *, leftward: bool, sides=tuple(Side)) -> list[ForaminalRow]:
    """The same slices as rows, numbered from right to left (`leftward`) or the other way."""
    order = sorted(XS, reverse=not leftward)
    rows = []
    for side in sides:
        for level, x in zip(Level, (*BETWEEN[side], *BETWEEN[side][:2]), strict=True):
            path = folder / f"{x}.png"
            Image.fromarray(pictures[x]).save(path)
            column, row = PLACES[level]
            rows.append(
                ForaminalRow(
                    study_id="77",
                    series_id="1",
                    instance_number=order.index(x) + 1,
                    path=path,
                    side=side,
                    level=level,
                    severity=Severity.MODERATE,
                    x_fraction=(column + 0.5) / COLUMNS,
                    y_fraction=(row + 0.5) / ROWS,
                    original=(ROWS, COLUMNS),
                )
            )
    return rows


def patient_x(row: ForaminalRow) -> float:
    """Where the row's slice lies."""
    return float(row.path.stem)


DIRECTIONS = pytest.mark.parametrize("leftward", [True, False], ids=["leftward", "rightward"])


@DIRECTIONS
@pytest.mark.parametrize("level", [Level.L2_L3, Level.L5_S1])
@pytest.mark.parametrize("side", list(Side))
def test_pictures_and_slices_give_the_same_stack(
    pictures, stack, tmp_path, leftward, level, side
) -> None:
    """Both neighbours are there: lateral, middle and medial crops agree, whatever the numbering."""
    rows = table(pictures, tmp_path, leftward=leftward)
    row = next(r for r in rows if (r.side, r.level) == (side, level))
    assert abs(patient_x(row)) == 13.5
    index = next(n for n, p in enumerate(stack.planes) if p.position_mm[0] == patient_x(row))
    column, line = PLACES[level]
    spacing = OPTIONS.level_spacing({lv: np.array(place) for lv, place in PLACES.items()})
    point = LevelPoint(level, side, stack, index, column, line, 1.0)
    theirs = Crops(OPTIONS).foraminal_crops(point, spacing)
    ours = ForaminalCrops(rows, OPTIONS).cut(row, OPTIONS.view_context)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.pixels, other.pixels, atol=1e-2)
    assert not np.allclose(ours[0].pixels, ours[2].pixels, atol=5)


@DIRECTIONS
@pytest.mark.parametrize("side", list(Side))
def test_a_slice_that_no_row_names_is_stood_in_for(pictures, tmp_path, leftward, side) -> None:
    """The outermost named slice has no lateral neighbour, the innermost no medial one."""
    rows = table(pictures, tmp_path, leftward=leftward)
    crops = ForaminalCrops(rows, OPTIONS)
    for level, lateral_is_itself in ((Level.L3_L4, True), (Level.L1_L2, False)):
        row = next(r for r in rows if (r.side, r.level) == (side, level))
        lateral, here, medial = (crop.pixels for crop in crops.cut(row))
        assert np.array_equal(lateral, here) is lateral_is_itself
        assert np.array_equal(medial, here) is not lateral_is_itself


@DIRECTIONS
@pytest.mark.parametrize("side", list(Side))
def test_a_series_of_one_side_has_no_neighbours(pictures, tmp_path, leftward, side) -> None:
    """Which way its numbers run cannot be known, and a guess could swap lateral and medial."""
    rows = table(pictures, tmp_path, leftward=leftward, sides=(side,))
    crops = ForaminalCrops(rows, OPTIONS)
    for row in rows:
        lateral, here, medial = (crop.pixels for crop in crops.cut(row))
        assert np.array_equal(lateral, here)
        assert np.array_equal(medial, here)


def test_neighbours_come_from_the_same_series_alone(pictures, tmp_path) -> None:
    """Another study's or series' slice with the next number is nobody's neighbour."""
    rows = table(pictures, tmp_path, leftward=True)
    row = next(r for r in rows if (r.side, r.level) == (Side.LEFT, Level.L2_L3))
    crops = {}
    for change in ({"study_id": "78"}, {"series_id": "2"}):
        others = [r if r is row else replace(r, **change) for r in rows]
        crops = ForaminalCrops(others, OPTIONS).cut(row)
        assert all(np.array_equal(crop.pixels, crops[1].pixels) for crop in crops)


def test_context_widens_and_keeps_the_pixel_size(pictures, tmp_path) -> None:
    """A widened crop holds the plain one in its middle."""
    rows = table(pictures, tmp_path, leftward=True)
    crops = ForaminalCrops(rows, OPTIONS)
    for plain, wide in zip(crops.cut(rows[1]), crops.cut(rows[1], 1.5), strict=True):
        assert plain.pixels.shape == FORAMINAL_SHAPE
        assert wide.pixels.shape == widened(FORAMINAL_SHAPE, 1.5)
        edge = (wide.pixels.shape[0] - plain.pixels.shape[0]) // 2
        middle = wide.pixels[edge:-edge, edge:-edge]
        np.testing.assert_allclose(middle, plain.pixels, atol=1e-2)


def test_a_picture_that_cannot_be_read_is_an_os_error(pictures, tmp_path) -> None:
    """Its callers tell it and go on."""
    rows = table(pictures, tmp_path, leftward=True)
    rows[0].path.write_bytes(b"no picture")
    with pytest.raises(OSError, match="is not a readable picture"):
        ForaminalCrops(rows, OPTIONS).cut(rows[0])
