"""A slice from DICOM and from a picture gives every network the same crop."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image

from dicom_sr.findings import Level, Side
from worker.datasets.axial import AxialRow
from worker.datasets.foraminal import ForaminalRow, pool_by_side
from worker.datasets.pictures import Picture, read_picture
from worker.datasets.rsna_rows import rsna_axial, rsna_foraminal
from worker.domain.crop import Crop, cut
from worker.domain.study import Role
from worker.grade.crop_windows import AXIAL_SHAPE, FORAMINAL_SHAPE, CropOptions
from worker.models.networks import standardise

OPTIONS = CropOptions()
SQUASHED = (250, 250)


def foraminal_crop(rows: list[ForaminalRow], side: Side, level: Level) -> Crop:
    """What training, evaluation and the worker cut for one foramen."""
    pooled = next(here for key, here in pool_by_side(rows).items() if key[2] is side)
    row = pooled[level]
    picture = read_picture(row.path, row.original)
    spacing = OPTIONS.level_spacing({at: np.array(r.physical) for at, r in pooled.items()})
    assert spacing is not None
    height, width = picture.pixels.shape
    column, line = row.x_fraction * width - 0.5, row.y_fraction * height - 0.5
    window = OPTIONS.foraminal_window(column, line, spacing, picture.grid)
    return cut(picture.pixels, window, FORAMINAL_SHAPE)


def axial_crop(row: AxialRow) -> Crop:
    """The same for one level on an axial slice."""
    picture = read_picture(row.path)
    x_min, y_min, x_max, y_max = row.box
    left, top = row.corner_px
    window = OPTIONS.axial_window(
        (x_min + x_max) / 2 - left - 0.5, (y_min + y_max) / 2 - top - 0.5, row.span, picture.grid
    )
    return cut(picture.pixels, window, AXIAL_SHAPE)


def seen(crop: Crop) -> np.ndarray:
    """What a network makes of a crop."""
    return standardise(torch.from_numpy(crop.pixels)[None, None])[0, 0].numpy()


def assert_alike(one: Crop, other: Crop, mean: float, most: float) -> None:
    """Standardised crops span -1.6 to 2.4; they agree to `mean`, nearly everywhere to `most`."""
    difference = np.abs(seen(one) - seen(other))
    assert difference.mean() < mean
    assert np.percentile(difference, 99) < most


def to_picture(path: Path, folder: Path, shape: tuple[int, int] | None = None) -> Path:
    """Export a DICOM image as a viewer does: 8 bits, the brightest saturated, maybe squashed."""
    pixels = pydicom.dcmread(path).pixel_array.astype(np.float32)
    grey = np.clip(pixels / np.percentile(pixels, 99.8) * 255, 0, 255).astype(np.uint8)
    image = Image.fromarray(grey)
    if shape is not None:
        image = image.resize(shape[::-1], Image.Resampling.BILINEAR)
    place = folder / f"{path.parent.name}_{path.stem}.png"
    image.save(place)
    return place


def as_pictures(
    rows: tuple[ForaminalRow, ...], folder: Path, shape: tuple[int, int] | None
) -> list[ForaminalRow]:
    """The rows that an index of such pictures would hold: without millimetres."""
    return [
        replace(row, path=to_picture(row.path, folder, shape), spacing=(1.0, 1.0)) for row in rows
    ]


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("level", [Level.L1_L2, Level.L5_S1])
def test_a_foramen_looks_alike_as_dicom_and_as_picture(rsna_folder, tmp_path, side, level) -> None:
    """Millimetres and 12 bits, or neither: the network sees the same."""
    rows = rsna_foraminal(rsna_folder).rows
    pictures = as_pictures(rows, tmp_path, None)
    dicom, picture = (foraminal_crop(list(r), side, level) for r in (rows, pictures))
    assert_alike(dicom, picture, mean=0.02, most=0.06)


def test_a_squashed_picture_of_a_tall_original_looks_alike(phantom, rsna_folder, tmp_path) -> None:
    """250 x 250 pixels of an image that was none: the original's proportions come back."""
    narrow = tmp_path / "narrow"
    rows = []
    for row in rsna_foraminal(rsna_folder).rows:
        dataset = pydicom.dcmread(row.path)
        columns = dataset.Columns - 60
        place = narrow / row.path.parent.name / row.path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        dataset.PixelData = dataset.pixel_array[:, :columns].tobytes()
        dataset.Columns = columns
        dataset.save_as(place)
        x = row.x_fraction * row.original[1] / columns
        original = (row.original[0], float(columns))
        rows.append(replace(row, path=place, x_fraction=x, original=original))
    pictures = as_pictures(tuple(rows), tmp_path, SQUASHED)
    for level in Level:
        dicom, picture = (foraminal_crop(list(r), Side.LEFT, level) for r in (rows, pictures))
        assert_alike(dicom, picture, mean=0.08, most=0.4)
        stretched = [replace(r, original=(r.original[0], r.original[0])) for r in pictures]
        wrong = np.abs(seen(dicom) - seen(foraminal_crop(stretched, Side.LEFT, level))).mean()
        right = np.abs(seen(dicom) - seen(picture)).mean()
        assert wrong > 2 * right


def test_an_axial_level_looks_alike_as_slice_and_as_crop(rsna_folder, tmp_path) -> None:
    """The whole DICOM slice, or the picture of its grown box: the network sees the same."""
    for row in rsna_axial(rsna_folder).rows:
        crop = replace(row, whole=False, spacing=(1.0, 1.0))
        left, top = map(int, crop.corner_px)
        x_min, y_min, x_max, y_max = row.box
        right, bottom = int(x_max + (x_max - x_min) / 2), int(y_max + (y_max - y_min))
        place = to_picture(row.path, tmp_path)
        with Image.open(place) as image:
            image.crop((left, top, right, bottom)).save(place)
        assert_alike(axial_crop(row), axial_crop(replace(crop, path=place)), mean=0.06, most=0.25)


@pytest.mark.parametrize(("flip_columns", "flip_rows"), [(True, False), (False, True)])
def test_a_slice_looks_alike_however_it_was_stored(
    phantom, rsna_folder, tmp_path, flip_columns: bool, flip_rows: bool
) -> None:
    """Columns or rows stored the other way round give the very same crop."""
    series = phantom.of(Role.AXIAL_T2)
    plane = series.planes[7]
    path = (
        rsna_folder
        / "train_images"
        / phantom.study_instance_uid
        / series.series_instance_uid
        / "8.dcm"
    )
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array
    across, down = np.array(plane.along_columns), np.array(plane.along_rows)
    corner = (plane.columns - 1 if flip_columns else 0, plane.rows - 1 if flip_rows else 0)
    dataset.ImagePositionPatient = [f"{v:.6f}" for v in plane.to_mm(*corner)]
    across, down = across * (-1 if flip_columns else 1), down * (-1 if flip_rows else 1)
    dataset.ImageOrientationPatient = [f"{v:.9f}" for v in (*across, *down)]
    stored = pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
    dataset.PixelData = np.ascontiguousarray(stored).tobytes()
    dataset.save_as(tmp_path / "turned.dcm")

    def look(picture: Picture, column: float, row: float) -> np.ndarray:
        window = OPTIONS.axial_window(column, row, 18.0, picture.grid)
        return cut(picture.pixels, window, AXIAL_SHAPE).pixels

    place = (140.0, 150.0)
    turned = tuple(abs(c - p) for c, p in zip(corner, place, strict=True))
    np.testing.assert_allclose(
        look(read_picture(tmp_path / "turned.dcm"), *turned),
        look(read_picture(path), *place),
        atol=0.05 * pixels.max() / 100,
    )


@pytest.mark.parametrize("name", ["broken.dcm", "broken.png", "absent.dcm", "absent.webp"])
def test_what_is_no_image_is_an_oserror(tmp_path: Path, name: str) -> None:
    """Readers need to expect one type of error alone."""
    if name.startswith("broken"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" + b"no image" * 40)
    with pytest.raises(OSError, match=name.partition(".")[0]):
        read_picture(tmp_path / name)


def test_a_truncated_dicom_file_is_an_oserror(rsna_folder: Path, tmp_path: Path) -> None:
    """Half of the pixels are no picture."""
    whole = next(rsna_folder.rglob("1.dcm")).read_bytes()
    (tmp_path / "half.dcm").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OSError, match="cannot be decoded"):
        read_picture(tmp_path / "half.dcm")
