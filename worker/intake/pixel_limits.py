"""Checks the declared size of pixel data before memory is allocated for it."""

from __future__ import annotations

import math
from typing import Final

from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import UID, RLELossless

from dicom_sr.attributes import integer
from worker.intake.codestreams import stream_size

MAX_VOXELS: Final = 2**27
"""Pixels of one object, all frames, and of the routed series of one study together: 512 MiB as
float32, a spine of 512 slices of 512 x 512."""

MAX_FRAME_PIXELS: Final = 2**24
"""Pixels of one frame: no MR image is larger than 4096 x 4096."""

_RLE_RATIO: Final = 64
"""A run of 128 bytes takes two (PS3.5 G.3.1)."""


class DecompressionBomb(ValueError):
    """The header declares more pixels than the file can hold, or more than the limits allow."""


class BrokenStream(ValueError):
    """A compressed frame declares no size, or one that no 16-bit greyscale image can have."""


class NoPixels(ValueError):
    """The object has no pixel data."""


def declared_shape(dataset: Dataset) -> tuple[int, int, int]:
    """The shape (frames, rows, columns) in the header.

    Raises NoPixels without a size, DecompressionBomb beyond the limits.
    """
    rows, columns = integer(dataset, "Rows") or 0, integer(dataset, "Columns") or 0
    frames = integer(dataset, "NumberOfFrames") or 1
    if rows < 1 or columns < 1 or frames < 1:
        raise NoPixels
    if rows * columns > MAX_FRAME_PIXELS or rows * columns * frames > MAX_VOXELS:
        raise DecompressionBomb
    return frames, rows, columns


def declared_bytes(dataset: Dataset) -> int:
    """The bytes of uncompressed pixel data according to the header."""
    bits = (integer(dataset, "BitsAllocated") or 8) * (integer(dataset, "SamplesPerPixel") or 1)
    return math.prod(declared_shape(dataset)) * bits // 8


def checked_shape(dataset: Dataset, syntax: UID, stored_bytes: int) -> tuple[int, int, int]:
    """The shape (frames, rows, columns), checked against the stored data.

    Raises DecompressionBomb, BrokenStream or NoPixels.
    """
    frames, rows, columns = declared_shape(dataset)
    if not syntax.is_encapsulated:
        if declared_bytes(dataset) > stored_bytes:
            raise DecompressionBomb
    elif syntax == RLELossless:
        if declared_bytes(dataset) > stored_bytes * _RLE_RATIO:
            raise DecompressionBomb
    else:
        # A codec allocates what its stream declares, whatever the header declares.
        for frame in generate_frames(dataset.PixelData, number_of_frames=frames):
            declared = stream_size(frame)
            if declared in (None, (0, 0)):
                raise BrokenStream
            if declared != (rows, columns):
                raise DecompressionBomb
    return frames, rows, columns
