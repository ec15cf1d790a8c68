"""What a header promises of its pixels, checked before anything is allocated for them."""

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
    """The header promises more pixels than the file can hold or this machine should allocate."""


class BrokenStream(ValueError):
    """A compressed frame tells no size, or what no greyscale image of 16 bits can be."""


class NoPixels(ValueError):
    """The object carries no image."""


def shape(dataset: Dataset) -> tuple[int, int, int]:
    """The promised shape (frames, rows, columns), once it is one that this machine can hold."""
    rows, columns = integer(dataset, "Rows") or 0, integer(dataset, "Columns") or 0
    frames = integer(dataset, "NumberOfFrames") or 1
    if rows < 1 or columns < 1 or frames < 1:
        raise NoPixels
    if rows * columns > MAX_FRAME_PIXELS or rows * columns * frames > MAX_VOXELS:
        raise DecompressionBomb
    return frames, rows, columns


def promised_bytes(dataset: Dataset) -> int:
    """What the pixels of a native data set take, by its header."""
    bits = (integer(dataset, "BitsAllocated") or 8) * (integer(dataset, "SamplesPerPixel") or 1)
    return math.prod(shape(dataset)) * bits // 8


def refuse_bomb(dataset: Dataset, syntax: UID, stored_bytes: int) -> tuple[int, int, int]:
    """The shape (frames, rows, columns), once it is known to be harmless."""
    frames, rows, columns = shape(dataset)
    if not syntax.is_encapsulated:
        if promised_bytes(dataset) > stored_bytes:
            raise DecompressionBomb
    elif syntax == RLELossless:
        if promised_bytes(dataset) > stored_bytes * _RLE_RATIO:
            raise DecompressionBomb
    else:
        # A codec allocates what its own stream says, whatever the header says.
        for frame in generate_frames(dataset.PixelData, number_of_frames=frames):
            announced = stream_size(frame)
            if announced in (None, (0, 0)):
                raise BrokenStream
            if announced != (rows, columns):
                raise DecompressionBomb
    return frames, rows, columns
