"""The one decoder boundary: bytes become headers or pixels here, and nothing is raised.

Whatever pydicom and its codecs do to a malformed file ends as `Unreadable`, which names
the exception's type and never its message: messages of parsers quote the values they
stumbled over, and those may be a patient's name.
"""

from __future__ import annotations

import logging
import warnings
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, config, dcmread
from pydicom.encaps import generate_frames
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLETransferSyntaxes,
)

from worker.intake.codestreams import stream_size
from worker.intake.elements import integer, item, number, text, values
from worker.intake.gdcm_child import decode_apart
from worker.nouns.study import Instance, Unreadable

# Warnings and log lines of the parser quote values; see the module's docstring.
warnings.filterwarnings("ignore", module="pydicom")
config.settings.reading_validation_mode = config.IGNORE
for _parser in ("pydicom", "openjpeg", "pylibjpeg"):
    logging.getLogger(_parser).setLevel(logging.CRITICAL)

MAX_VOXELS: Final = 2**27
"""Pixels of one object, all frames: 512 MiB as float32, a spine of 512 slices of 512 x 512."""

MAX_INFLATED_BYTES: Final = 2**30
"""What a deflated data set may grow to."""

_PIXEL_KEYWORDS: Final = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

Frames = NDArray[np.float32]
"""Decoded pixels, shape (frames, rows, columns), in modality units, bright is bright."""

_PLUGINS: Final = {
    **dict.fromkeys(JPEG2000TransferSyntaxes, "pylibjpeg"),
    **dict.fromkeys(JPEGLSTransferSyntaxes, "pyjpegls"),
    **dict.fromkeys(RLETransferSyntaxes, "pydicom"),
}
"""One codec for each transfer syntax: pydicom would try the next after a failure, and GDCM
aborts the whole process on malformed streams. JPEG, which GDCM alone decodes under a free
licence, is decoded in a child process."""

_T = TypeVar("_T")


class DecompressionBomb(ValueError):
    """The header promises more pixels than the file can hold or this machine should allocate."""


class NotGreyscale(ValueError):
    """Colour, palette or other pixels that are no MR intensities."""


class ImpossibleRescale(ValueError):
    """Rescale slope or intercept that turn pixels into something that is not finite."""


class NoPixels(ValueError):
    """The object carries no image."""


def read_header(key: str, source: bytes | Path) -> Instance | Unreadable:
    """The header of one DICOM file, without pixels and private elements.

    Every element is parsed here, so that reading a value later cannot fail; an element
    that cannot be parsed is left out as if it were absent.
    """
    return guarded(key, lambda: Instance(key, _read_header(source)))


def settle(header: Dataset) -> Dataset:
    """Parse every element in place and drop pixels, private and unparsable ones.

    For headers that an archive got in another way than by `read_header`.
    """
    for keyword in _PIXEL_KEYWORDS:
        if keyword in header:
            del header[keyword]
    for tag in list(header.keys()):
        # pydicom parses on access; a value that is malformed counts as absent.
        if tag.is_private or isinstance(guarded("", partial(header.get, tag)), Unreadable):
            del header[tag]
            continue
        element = header[tag]
        if element.VR == "SQ":
            for nested in element.value:
                settle(nested)
    return header


def decode(key: str, content: bytes) -> Frames | Unreadable:
    """The pixels of one DICOM file, shape (frames, rows, columns), float32.

    Rescale slope and intercept are applied (PS3.3 C.11.1, for enhanced images from the
    Pixel Value Transformation functional group, C.7.6.16.2.9); MONOCHROME1 is inverted
    within its stored range (C.7.6.3.1.2). Colour and palette images, and headers that
    promise more pixels than the file can hold, are refused before anything is allocated.
    """
    return guarded(key, lambda: _decode(content))


def guarded(key: str, read: Callable[[], _T]) -> _T | Unreadable:
    """What `read` returns, or `Unreadable` whatever it raises: the boundary itself."""
    try:
        return read()
    except Exception as error:  # noqa: BLE001 - the decoder boundary, see DESIGN.md
        return Unreadable(key, type(error).__name__)


def _read_header(source: bytes | Path) -> Dataset:
    if isinstance(source, bytes):
        return settle(_read(BytesIO(source), stop_before_pixels=True))
    with source.open("rb") as file:
        return settle(_read(file, stop_before_pixels=True))


def _read(file: BinaryIO, *, stop_before_pixels: bool = False) -> Dataset:
    read_preamble(file, force=False)
    meta = read_dataset(
        file,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, _vr, _length: tag >> 16 != 2,
    )
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        # pydicom inflates without a limit.
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        inflater.decompress(file.read(), MAX_INFLATED_BYTES)
        if inflater.unconsumed_tail:
            raise DecompressionBomb
    file.seek(0)
    return dcmread(file, stop_before_pixels=stop_before_pixels)


def _decode(content: bytes) -> Frames:
    dataset = _read(BytesIO(content))
    pixels = next((keyword for keyword in _PIXEL_KEYWORDS if keyword in dataset), None)
    if pixels is None:
        raise NoPixels
    photometric = text(dataset, "PhotometricInterpretation")
    if integer(dataset, "SamplesPerPixel") != 1 or photometric not in (
        "MONOCHROME1",
        "MONOCHROME2",
    ):
        raise NotGreyscale
    shape = _refuse_bomb(dataset, len(dataset[pixels].value))
    frames = np.empty(shape, np.float32)
    count = 0
    for index, stored in enumerate(_stored_frames(dataset, content)):
        if index >= len(frames):
            break
        slope, intercept = _rescale(dataset, index)
        values_ = stored.astype(np.float32)
        if photometric == "MONOCHROME1":
            values_ = _inverted(values_, dataset)
        frames[index] = values_ * np.float32(slope) + np.float32(intercept)
        count += 1
    if count != len(frames):
        raise NoPixels
    if not np.isfinite(frames).all():
        raise ImpossibleRescale
    return frames


def _stored_frames(dataset: Dataset, content: bytes) -> Iterable[NDArray[Any]]:
    """The stored values, frame by frame, each of shape (rows, columns)."""
    syntax = dataset.file_meta.get("TransferSyntaxUID", "")
    if syntax in JPEGTransferSyntaxes:
        return decode_apart(content)
    return iter_pixels(dataset, decoding_plugin=_PLUGINS.get(syntax, ""))


def _refuse_bomb(dataset: Dataset, stored_bytes: int) -> tuple[int, int, int]:
    """The shape (frames, rows, columns), once it is known to be harmless."""
    rows, columns = integer(dataset, "Rows") or 0, integer(dataset, "Columns") or 0
    frames = integer(dataset, "NumberOfFrames") or 1
    if rows < 1 or columns < 1 or frames < 1:
        raise NoPixels
    bits = integer(dataset, "BitsAllocated") or 8
    voxels = rows * columns * frames
    if voxels > MAX_VOXELS:
        raise DecompressionBomb
    syntax = UID(dataset.file_meta.get("TransferSyntaxUID", ""))
    if syntax.is_transfer_syntax and syntax.is_compressed and not syntax.is_deflated:
        # A codec allocates what its own stream says, whatever the header says.
        for frame in generate_frames(dataset.PixelData, number_of_frames=frames):
            if stream_size(frame) not in (None, (rows, columns)):
                raise DecompressionBomb
    elif voxels * bits > stored_bytes * 8:
        raise DecompressionBomb
    return frames, rows, columns


def _rescale(dataset: Dataset, index: int) -> tuple[float, float]:
    """Slope and intercept of one frame; 1 and 0 where the header gives none."""
    groups = (
        item(dataset, "PerFrameFunctionalGroupsSequence", index),
        item(dataset, "SharedFunctionalGroupsSequence"),
    )
    for group in groups:
        transformation = item(group, "PixelValueTransformationSequence")
        if values(transformation, "RescaleSlope"):
            return _finite_rescale(transformation)
    return _finite_rescale(dataset)


def _finite_rescale(dataset: Dataset) -> tuple[float, float]:
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    if (slope is None and values(dataset, "RescaleSlope")) or slope == 0:
        raise ImpossibleRescale
    return (1.0 if slope is None else slope), (0.0 if intercept is None else intercept)


def _inverted(stored: Frames, dataset: Dataset) -> Frames:
    bits = integer(dataset, "BitsStored") or 16
    signed = integer(dataset, "PixelRepresentation") == 1
    # Lowest plus highest stored value: 2^n - 1 unsigned, -1 in two's complement.
    return np.float32(-1 if signed else 2**bits - 1) - stored
