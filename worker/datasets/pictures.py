"""A slice as a picture file: grey values and the shape of its pixels, without millimetres."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.nouns.crop import Grid


@dataclass(frozen=True, eq=False)
class Picture:
    """Grey values, shape (rows, columns), and how their pixels lie.

    The grid's unit is unknown. A picture that was squashed to a square has unequal
    spacings.
    """

    pixels: NDArray[np.float32]
    grid: Grid


def read_picture(path: Path, original: tuple[float, float] | None = None) -> Picture:
    """Read a picture; `original` is the (height, width) it had before it was squashed.

    Raises OSError when the file is no picture.
    """
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"), dtype=np.float32)
    if original is None:
        return Picture(pixels, Grid())
    height, width = original
    return Picture(pixels, Grid(width / pixels.shape[1], height / pixels.shape[0]))
