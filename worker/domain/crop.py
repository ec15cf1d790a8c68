"""A resampled window of one slice, and the map between it and the slice.

`cut` is the one function that makes what a network sees, in training, evaluation and
the worker alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True)
class Window:
    """An axis-aligned window on an image, in image pixels, and how to show it.

    The window spans `width_px` columns and `height_px` rows around its centre; a flip
    shows columns or rows reversed, so that anatomy always lies the same way round for a
    network. Turned, the image's rows run across the window and its columns down: then
    `width_px` counts rows.
    """

    column: float
    row: float
    width_px: float
    height_px: float
    flip_columns: bool = False
    flip_rows: bool = False
    turned: bool = False

    @property
    def on_transposed(self) -> Window:
        """The same window, of a turned image, on that image's transpose, which is not turned."""
        return Window(
            self.row,
            self.column,
            self.width_px,
            self.height_px,
            self.flip_rows,
            self.flip_columns,
        )

    def to_image(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """The 2 x 3 matrix from crop pixels (column, row, 1) to image pixels (column, row).

        `shape` is the crop's (height, width). Pixel centres are whole numbers in both.
        """
        if self.turned:
            return self.on_transposed.to_image(shape)[::-1]
        height, width = shape
        scale_column = self.width_px / width * (-1 if self.flip_columns else 1)
        scale_row = self.height_px / height * (-1 if self.flip_rows else 1)
        return np.array(
            [
                [scale_column, 0.0, self.column - scale_column * (width - 1) / 2],
                [0.0, scale_row, self.row - scale_row * (height - 1) / 2],
            ]
        )


@dataclass(frozen=True)
class Grid:
    """How an image's pixels lie: their size, in any one unit, and which way they run.

    A flip says that columns or rows run against the usual view, turned that the rows run
    across it; see `Plane.flips` and `Plane.turned`.
    """

    column_spacing: float = 1.0
    row_spacing: float = 1.0
    flip_columns: bool = False
    flip_rows: bool = False
    turned: bool = False

    @property
    def spacings(self) -> tuple[float, float]:
        """The size of a pixel (across, down) the usual view."""
        across, down = self.column_spacing, self.row_spacing
        return (down, across) if self.turned else (across, down)

    def window(self, column: float, row: float, across: float, down: float) -> Window:
        """The window of a physical size, in the grid's unit, around a pixel."""
        pixel_across, pixel_down = self.spacings
        return Window(
            column,
            row,
            across / pixel_across,
            down / pixel_down,
            self.flip_columns,
            self.flip_rows,
            self.turned,
        )


@dataclass(frozen=True, eq=False)
class Crop:
    """A window's pixels, shape (height, width) float32, in the image's own intensities.

    Pixels outside the image are 0. Networks standardise intensities themselves.
    """

    pixels: NDArray[np.float32]
    window: Window

    def to_image_px(self, column: float, row: float) -> tuple[float, float]:
        """The image (column, row) of a crop pixel."""
        matrix = self.window.to_image(self._shape)
        image_column, image_row = (matrix @ (column, row, 1.0)).tolist()
        return image_column, image_row

    def to_crop_px(self, column: float, row: float) -> tuple[float, float]:
        """The crop (column, row) of an image pixel; the inverse of `to_image_px`."""
        matrix = self.window.to_image(self._shape)
        crop_column, crop_row = np.linalg.solve(
            matrix[:, :2], np.array((column, row)) - matrix[:, 2]
        ).tolist()
        return crop_column, crop_row

    @property
    def _shape(self) -> tuple[int, int]:
        height, width = self.pixels.shape
        return height, width


def cut(image: NDArray[np.float32], window: Window, shape: tuple[int, int]) -> Crop:
    """Resample a window of an image to a fixed shape.

    `image` has shape (rows, columns), `shape` is (height, width). Bilinear, with a
    Gaussian before it where the crop is coarser than the image, so that a fine matrix and
    a coarse one of the same anatomy give the same crop.
    """
    if window.turned:
        return Crop(cut(image.T, window.on_transposed, shape).pixels, window)
    matrix = window.to_image(shape)
    step_column, step_row = abs(matrix[0, 0]), abs(matrix[1, 1])
    # Only the part of the image under the window is touched: slices are large, windows small.
    margin_column, margin_row = 2 + 2 * step_column, 2 + 2 * step_row
    top = _clamp(window.row - window.height_px / 2 - margin_row, image.shape[0])
    bottom = _clamp(window.row + window.height_px / 2 + margin_row + 1, image.shape[0])
    left = _clamp(window.column - window.width_px / 2 - margin_column, image.shape[1])
    right = _clamp(window.column + window.width_px / 2 + margin_column + 1, image.shape[1])
    part = np.asarray(image[top:bottom, left:right], dtype=np.float32)
    if part.size == 0:
        return Crop(np.zeros(shape, dtype=np.float32), window)
    sigma = [max(0.0, (step - 1) / 2) for step in (step_row, step_column)]
    if max(sigma) > 0:
        part = ndimage.gaussian_filter(part, sigma, mode="nearest")
    pixels = ndimage.affine_transform(
        part,
        np.array([matrix[1, 1], matrix[0, 0]]),
        offset=(matrix[1, 2] - top, matrix[0, 2] - left),
        output_shape=shape,
        order=1,
        mode="constant",
        cval=0.0,
    )
    return Crop(pixels.astype(np.float32, copy=False), window)


def _clamp(value: float, size: int) -> int:
    return int(min(max(np.floor(value), 0), size))
