"""Rendering of one slice: grey image, orientation letters and the marker of a point."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dicom_sr.findings import Severity
from worker.domain.geometry import Plane, Triple
from worker.report.slice_index import Slice

LONGEST_SIDE_PX: Final = 560
SUPERSAMPLING: Final = 4
RADIUS_PX: Final = 12.0
TICK: Final = 1.7
"""The ticks run from the circle to this many radii; the centre stays free."""

INK: Final = {
    Severity.NORMAL_MILD: (86, 180, 233),
    Severity.MODERATE: (240, 180, 41),
    Severity.SEVERE: (255, 94, 120),
}
"""The colour of each severity, distinguishable with colour blindness (Okabe and Ito)."""

WHITE: Final = (240, 240, 240)
GREY: Final = (176, 176, 176)

RGB = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class View:
    """A slice as displayed: upright, patient left on the right, square pixels.

    `image` is greyscale; `to_display` maps the slice's pixels to the image's.
    """

    image: Image.Image
    plane: Plane

    def to_display(self, column: float, row: float) -> tuple[float, float]:
        """The (x, y) in `image` of a pixel of the slice; the first pixel's centre is (0, 0)."""
        flip_columns, flip_rows = self.plane.flips
        column = self.plane.columns - 1 - column if flip_columns else column
        row = self.plane.rows - 1 - row if flip_rows else row
        across, down = (row, column) if self.plane.turned else (column, row)
        pixels_across, pixels_down = _pixels(self.plane)
        width, height = self.image.size
        return (
            (across + 0.5) * width / pixels_across - 0.5,
            (down + 0.5) * height / pixels_down - 0.5,
        )

    @property
    def px_per_mm(self) -> float:
        """Pixels of `image` per millimetre, equal in both directions."""
        width_mm, _ = _extent_mm(self.plane)
        return self.image.width / width_mm


def render_slice(shown: Slice) -> View:
    """Window a slice, turn it to the usual orientation and resample it to square pixels."""
    plane = shown.plane
    flip_columns, flip_rows = plane.flips
    pixels = shown.volume.pixels[shown.index]
    pixels = pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
    pixels = pixels.T if plane.turned else pixels
    width_mm, height_mm = _extent_mm(plane)
    scale = LONGEST_SIDE_PX / max(width_mm, height_mm)
    size = (max(1, round(width_mm * scale)), max(1, round(height_mm * scale)))
    image = Image.fromarray(window(pixels)).resize(size, Image.Resampling.BICUBIC)
    return View(image, plane)


def _pixels(plane: Plane) -> tuple[int, int]:
    """The number of the slice's pixels (across, down) in its view."""
    return (plane.rows, plane.columns) if plane.turned else (plane.columns, plane.rows)


def _extent_mm(plane: Plane) -> tuple[float, float]:
    """The slice's (width, height) in its view."""
    (across, down), (across_mm, down_mm) = _pixels(plane), plane.grid.spacings
    return across * across_mm, down * down_mm


def window(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey values of a slice, shape (rows, columns): the 1st to 99.5th percentile as 0..255."""
    low, high = np.percentile(pixels[::2, ::2], (1, 99.5))
    scaled = (pixels - low) * (255 / max(float(high - low), 1e-6))
    grey: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    return grey


def draw_marker(
    image: Image.Image, x: float, y: float, ink: RGB, radius: float = RADIUS_PX
) -> None:
    """Draw an open cross-hair with a dark outline around a point of an RGB image."""
    reach = round(radius * TICK) + 3
    left, top = round(x) - reach, round(y) - reach
    # Supersampling makes it smooth, and its centre exact to a quarter of a pixel.
    size = (2 * reach + 1) * SUPERSAMPLING
    at_x, at_y = ((v + 0.5) * SUPERSAMPLING - 0.5 for v in (x - left, y - top))
    for width, colour in ((4.5, (0, 0, 0)), (2.0, ink)):
        stencil = Image.new("L", (size, size))
        large = radius * SUPERSAMPLING, round(width * SUPERSAMPLING)
        _cross_hair(ImageDraw.Draw(stencil), at_x, at_y, *large)
        stencil = stencil.reduce(SUPERSAMPLING)
        image.paste(colour, (left, top), stencil)


def draw_letters(image: Image.Image, plane: Plane, size: tuple[int, int]) -> None:
    """Write L, R, A, P, H and F at the borders of a plane's view in the corner of an image.

    `size` is the view's (width, height).
    """
    flip_columns, flip_rows = plane.flips
    of_columns = side_letters(plane.along_columns, flipped=flip_columns)
    of_rows = side_letters(plane.along_rows, flipped=flip_rows)
    (right, left), (bottom, top) = (of_rows, of_columns) if plane.turned else (of_columns, of_rows)
    width, height = size
    draw = ImageDraw.Draw(image)
    for text, place, anchor in (
        (left, (8, height / 2), "lm"),
        (right, (width - 8, height / 2), "rm"),
        (top, (width / 2, 6), "mt"),
        (bottom, (width / 2, height - 6), "mb"),
    ):
        draw.text(
            place,
            text,
            fill=WHITE,
            font=font(20),
            anchor=anchor,
            stroke_width=2,
            stroke_fill=(0, 0, 0),
        )


def side_letters(direction: Triple, *, flipped: bool) -> tuple[str, str]:
    """The letters at the end and at the start of an image axis, by its largest component.

    +x is the patient's left, +y the back, +z the head (DICOM PS3.3 C.7.6.2.1.1).
    """
    axis = int(np.argmax(np.abs(direction)))
    positive, negative = ("LR", "PA", "HF")[axis]
    if (direction[axis] > 0) == flipped:
        return negative, positive
    return positive, negative


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in font."""
    return ImageFont.load_default(size)


def _cross_hair(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, width: int) -> None:
    outer = radius + width / 2
    draw.ellipse((x - outer, y - outer, x + outer, y + outer), outline=255, width=width)
    far = radius * TICK
    for across, down in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        start = (x + across * radius, y + down * radius)
        draw.line((*start, x + across * far, y + down * far), fill=255, width=width)
