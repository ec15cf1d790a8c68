"""Reads one slice from a picture or DICOM file: grey values and the grid of its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.domain.crop import Grid
from worker.domain.geometry import Plane
from worker.domain.study import Unreadable
from worker.errors import Rejected
from worker.intake.decoding import decode, read_header
from worker.intake.headers import read_study


@dataclass(frozen=True, eq=False)
class Picture:
    """Grey values, shape (rows, columns), and the grid of their pixels.

    The grid of a DICOM image is in millimetres, with its orientation. The grid of a picture
    has no known unit, unequal spacings where it was resized to a square, and no flips:
    pictures are assumed to be oriented as displayed.
    """

    pixels: NDArray[np.float32]
    grid: Grid


def read_picture(path: Path, original: tuple[float, float] | None = None) -> Picture:
    """Read a picture, or a single-frame DICOM image (`.dcm`) in modality units.

    `original` is the (height, width) of a picture before it was resized to a square; it is
    not used for DICOM images. Raises OSError when the file cannot be read as one image.
    """
    if path.suffix.lower() == ".dcm":
        return _read_dicom(path)
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"), dtype=np.float32)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # The exceptions of Pillow for a missing or broken file.
        raise OSError(f"{path} is not a readable picture: {error}") from error
    if original is None:
        return Picture(pixels, Grid())
    height, width = original
    return Picture(pixels, Grid(width / pixels.shape[1], height / pixels.shape[0]))


def read_plane(path: Path, content: bytes | None = None) -> Plane:
    """The plane of a single-frame DICOM image, from its file or from `content`.

    Raises OSError when it cannot be read or has no plane.
    """
    instance = read_header(str(path), path if content is None else content)
    try:
        slices = [header for series in read_study([instance]).series for header in series.slices]
    except Rejected as error:
        raise OSError(f"{path} is not a readable DICOM image") from error
    if len(slices) != 1:
        what = "has several frames" if slices else "has no image plane"
        raise OSError(f"{path} {what}")
    return slices[0].plane


def _read_dicom(path: Path) -> Picture:
    content = path.read_bytes()
    plane = read_plane(path, content)
    frames = decode(str(path), content)
    if isinstance(frames, Unreadable):
        raise OSError(f"{path} cannot be decoded: {frames.error}")
    if frames.shape != (1, plane.rows, plane.columns):
        raise OSError(f"the pixels of {path} do not match its header")
    return Picture(frames[0], plane.grid)
