"""A slice as a picture file: grey values and the shape of its pixels, without millimetres."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True, eq=False)
class Picture:
    """Grey values, shape (rows, columns), with the relative size of a pixel each way.

    `column_spacing` and `row_spacing` are in the same unit; which one is unknown. A
    picture that was squashed to a square has them unequal.
    """

    pixels: NDArray[np.float32]
    column_spacing: float = 1.0
    row_spacing: float = 1.0


def read_picture(path: Path, original: tuple[float, float] | None = None) -> Picture:
    """Read a picture; `original` is the (height, width) it had before it was squashed.

    Raises OSError when the file is no picture.
    """
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"), dtype=np.float32)
    if original is None:
        return Picture(pixels)
    height, width = original
    return Picture(pixels, width / pixels.shape[1], height / pixels.shape[0])
