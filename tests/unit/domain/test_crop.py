"""The crop that every network sees, and its inverse map."""

import numpy as np
import pytest

from worker.domain.crop import Grid, Window, cut


def ramp(rows: int, columns: int) -> np.ndarray:
    """An image whose value names its place: 1000 x row + column."""
    return (1000.0 * np.arange(rows)[:, None] + np.arange(columns)[None, :]).astype(np.float32)


@pytest.mark.parametrize("flip_columns", [False, True])
@pytest.mark.parametrize("flip_rows", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_a_crop_shows_what_its_map_says(flip_columns: bool, flip_rows: bool, turned: bool) -> None:
    """Each crop pixel has the value of the image pixel that the map names, however turned."""
    image = ramp(90, 120)
    window = Window(60.0, 40.0, 30.0, 20.0, flip_columns, flip_rows, turned)
    crop = cut(image, window, (20, 30))
    for column, row in [(0, 0), (29, 0), (7, 13), (29, 19)]:
        x, y = crop.to_image_px(column, row)
        assert crop.pixels[row, column] == pytest.approx(1000 * y + x, rel=1e-4)
    assert (crop.to_image_px(0, 0)[0] > 60) == flip_columns
    assert (crop.to_image_px(0, 0)[1] > 40) == flip_rows


@pytest.mark.parametrize("turned", [False, True])
def test_the_map_and_its_inverse_agree(turned: bool) -> None:
    """A point goes into the crop and comes back, for non-square pixels, flips and turns."""
    crop = cut(ramp(64, 64), Window(20.5, 31.25, 40.0, 17.0, True, False, turned), (48, 80))
    assert crop.to_image_px(*crop.to_crop_px(13.3, 40.1)) == pytest.approx((13.3, 40.1))


def test_a_turned_image_gives_the_same_crop() -> None:
    """An image stored on its side gives, turned back, the very pixels of the upright one."""
    image = np.random.default_rng(0).random((60, 80)).astype(np.float32)
    upright = cut(image, Grid(0.5, 0.8).window(30.0, 25.0, 20.0, 24.0), (32, 24))
    turned = cut(
        image.T[:, ::-1],
        Grid(0.8, 0.5, flip_columns=True, turned=True).window(59 - 25.0, 30.0, 20.0, 24.0),
        (32, 24),
    )
    np.testing.assert_allclose(turned.pixels, upright.pixels, atol=1e-5)


def test_outside_the_image_is_black() -> None:
    """A window that leaves the image is filled with 0 there, and keeps its map."""
    crop = cut(np.ones((50, 50), dtype=np.float32), Window(0.0, 25.0, 20.0, 20.0), (20, 20))
    assert crop.pixels[:, :9].max() == 0
    assert crop.pixels[:, 11:].min() == pytest.approx(1)
    assert cut(np.ones((5, 5), dtype=np.float32), Window(99, 99, 4, 4), (8, 8)).pixels.max() == 0


def test_a_fine_and_a_coarse_matrix_give_the_same_crop() -> None:
    """The same anatomy at twice the matrix gives the same crop: no aliasing."""
    ys, xs = np.mgrid[:256, :256] / 256
    fine = (np.sin(20 * xs) * np.cos(15 * ys)).astype(np.float32)
    coarse = fine.reshape(128, 2, 128, 2).mean(axis=(1, 3))
    of_fine = cut(fine, Window(127.5, 127.5, 200, 200), (64, 64)).pixels
    of_coarse = cut(coarse, Window(63.5, 63.5, 100, 100), (64, 64)).pixels
    assert np.abs(of_fine - of_coarse).max() < 0.02


def test_mirroring_the_image_mirrors_the_crop() -> None:
    """A mirrored image in a window flipped at the mirrored place gives the same pixels."""
    image = np.random.default_rng(0).random((60, 80)).astype(np.float32)
    crop = cut(image, Window(30.0, 25.0, 24.0, 24.0), (32, 32))
    mirrored = cut(image[:, ::-1], Window(79 - 30.0, 25.0, 24.0, 24.0, True), (32, 32))
    np.testing.assert_allclose(mirrored.pixels, crop.pixels, atol=1e-5)
