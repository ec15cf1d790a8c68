"""The decoder boundary: turns bytes into headers or pixels without raising.

Every exception of pydicom and its codecs becomes an `Unreadable` with the type of the
exception. Its message is dropped, because parsers quote values, which may be a patient's name.
"""

from __future__ import annotations

import logging
import warnings
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, config, dcmread, uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels.utils import iter_pixels

from dicom_sr.attributes import integer, item, number, text
from worker.domain.study import Instance, SliceHeader, Unreadable
from worker.intake.gdcm_child import decode_in_child
from worker.intake.pixel_limits import DecompressionBomb, NoPixels, checked_shape, declared_bytes

# Warnings and log lines of the parser quote values; see the module's docstring.
warnings.filterwarnings("ignore", module="pydicom")
config.settings.reading_validation_mode = config.IGNORE
for _parser in ("pydicom", "openjpeg", "pylibjpeg"):
    logging.getLogger(_parser).setLevel(logging.CRITICAL)

MAX_HEADER_BYTES: Final = 2**23
"""Limit of an inflated header; the header of 2,000 enhanced frames is half as long."""

_TRAILING_BYTES: Final = 2**20
"""Limit of the data after the pixels of a deflated data set: padding and signatures."""

MAX_NESTING: Final = 32
"""Limit of nested sequences in a header; usual headers need fewer than ten."""

_PIXEL_KEYWORDS: Final = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_PIXEL_TAGS: Final = frozenset(map(tag_for_keyword, _PIXEL_KEYWORDS))

Frames = NDArray[np.float32]
"""Decoded pixels, shape (frames, rows, columns), in modality units, bright is bright."""

_NATIVE: Final = frozenset(
    {
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.DeflatedExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
    }
)
_JPEG: Final = frozenset(
    {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1}
)
_PLUGINS: Final = {
    **dict.fromkeys(_NATIVE, ""),
    uid.RLELossless: "pydicom",
    **dict.fromkeys((uid.JPEGLSLossless, uid.JPEGLSNearLossless), "pyjpegls"),
    **dict.fromkeys((uid.JPEG2000Lossless, uid.JPEG2000), "pylibjpeg"),
    **dict.fromkeys((uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K), "pylibjpeg"),
    **dict.fromkeys(_JPEG, "gdcm"),
}
"""One codec for each supported transfer syntax: pydicom would try the next one after a
failure, and GDCM aborts the process on malformed streams. JPEG, which GDCM alone
decodes under a free licence, is decoded in a child process."""

_T = TypeVar("_T")


class NotGreyscale(ValueError):
    """Colour, palette or other pixels that are not MR intensities."""


class UnsupportedSyntax(ValueError):
    """A transfer syntax without a decoder; the argument is its name."""


class ShiftedBits(ValueError):
    """Stored bits that are not the lowest bits of their cells (forbidden by PS3.5 8.1.1)."""


class ImpossibleRescale(ValueError):
    """Rescale slope or intercept that are malformed, zero, or give values that are not finite."""


def read_header(key: str, source: bytes | Path) -> Instance | Unreadable:
    """The header of one DICOM file, without pixels and private elements.

    Every element is parsed; an element that cannot be parsed is dropped.
    """
    return guarded(key, lambda: Instance(key, _read_header(source)))


def parse_in_place(header: Dataset, nesting: int = MAX_NESTING) -> Dataset:
    """Parse every element in place; drop pixels, private elements and unparsable ones.

    Sequences nested deeper than `nesting` are dropped too. For headers that an archive did
    not read by `read_header`.
    """
    for keyword in _PIXEL_KEYWORDS:
        if keyword in header:
            del header[keyword]
    for tag in list(header.keys()):
        # pydicom parses on access; a malformed value counts as absent.
        if tag.is_private or isinstance(guarded("", partial(header.get, tag)), Unreadable):
            del header[tag]
            continue
        element = header[tag]
        if element.VR == "SQ":
            if not nesting:
                del header[tag]
                continue
            for nested in element.value:
                parse_in_place(nested, nesting - 1)
    return header


def decode(key: str, content: bytes) -> Frames | Unreadable:
    """The pixels of one DICOM file, shape (frames, rows, columns), float32.

    Rescale slope and intercept are applied (PS3.3 C.11.1, for enhanced images from the
    Pixel Value Transformation functional group, C.7.6.16.2.9); MONOCHROME1 is inverted
    within its stored range (C.7.6.3.1.2). Colour and palette images, and headers that
    declare more pixels than the file can hold, are rejected before memory is allocated.
    """
    return guarded(key, lambda: _decode(content))


def pixels_of(header: SliceHeader, decoded: Frames) -> Frames | None:
    """The pixels (rows, columns) of one slice; None where they do not match its header."""
    index = (header.image.frame or 1) - 1
    if index >= len(decoded) or decoded.shape[1:] != (header.plane.rows, header.plane.columns):
        return None
    pixels: Frames = decoded[index]
    return pixels


def guarded(key: str, read: Callable[[], _T]) -> _T | Unreadable:
    """What `read` returns, or an `Unreadable` for any exception: the boundary itself."""
    try:
        return read()
    except UnsupportedSyntax as error:
        return Unreadable(key, f"UnsupportedSyntax {error}")
    except Exception as error:  # noqa: BLE001 - the decoder boundary, see DESIGN.md
        return Unreadable(key, type(error).__name__)


def _read_header(source: bytes | Path) -> Dataset:
    if isinstance(source, bytes):
        return parse_in_place(_read(BytesIO(source), stop_before_pixels=True))
    with source.open("rb") as file:
        return parse_in_place(_read(file, stop_before_pixels=True))


def _read(file: BinaryIO, *, stop_before_pixels: bool = False) -> Dataset:
    read_preamble(file, force=False)
    meta = read_dataset(
        file,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, _vr, _length: tag >> 16 != 2,
    )
    if meta.get("TransferSyntaxUID") == uid.DeflatedExplicitVRLittleEndian:
        return _inflated(file.read(), meta, stop_before_pixels=stop_before_pixels)
    file.seek(0)
    return dcmread(file, stop_before_pixels=stop_before_pixels)


def _inflated(content: bytes, meta: Dataset, *, stop_before_pixels: bool) -> Dataset:
    """A deflated data set, inflated at most to the size that its header declares.

    pydicom inflates without a limit.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(content, MAX_HEADER_BYTES)
    header = BytesIO(data)
    dataset = read_dataset(
        header,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, _vr, _length: tag in _PIXEL_TAGS,
    )
    if not inflater.eof and header.tell() == len(data):
        raise DecompressionBomb  # a header without an end
    if not stop_before_pixels:
        # The pixels after the part inflated with the header, and trailing data.
        declared = declared_bytes(dataset) + _TRAILING_BYTES
        data += inflater.decompress(inflater.unconsumed_tail, declared)
        if not inflater.eof:
            raise DecompressionBomb if inflater.unconsumed_tail else EOFError
        dataset = read_dataset(BytesIO(data), is_implicit_VR=False, is_little_endian=True)
    dataset.file_meta = FileMetaDataset(meta)
    return dataset


def _decode(content: bytes) -> Frames:
    dataset = _read(BytesIO(content))
    syntax = _syntax(dataset)
    pixels = next((keyword for keyword in _PIXEL_KEYWORDS if keyword in dataset), None)
    if pixels is None:
        raise NoPixels
    photometric = text(dataset, "PhotometricInterpretation")
    if integer(dataset, "SamplesPerPixel") != 1 or photometric not in (
        "MONOCHROME1",
        "MONOCHROME2",
    ):
        raise NotGreyscale
    shape = checked_shape(dataset, syntax, len(dataset[pixels].value))
    frames = np.empty(shape, np.float32)
    count = 0
    for index, stored in enumerate(_stored_frames(dataset, syntax, content)):
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


def _syntax(dataset: Dataset) -> uid.UID:
    """The transfer syntax (PS3.5 10); raises where its pixels cannot be decoded."""
    syntax = uid.UID(dataset.file_meta.get("TransferSyntaxUID", ""))
    if syntax not in _PLUGINS:
        # A value that is not a UID of the standard may be any text and is not repeated.
        raise UnsupportedSyntax(syntax.keyword or "unknown")
    bits, high = integer(dataset, "BitsStored"), integer(dataset, "HighBit")
    plain = syntax in _NATIVE or syntax == uid.RLELossless
    if plain and bits is not None and high is not None and high != bits - 1:
        raise ShiftedBits
    return syntax


def _stored_frames(
    dataset: Dataset, syntax: uid.UID, content: bytes
) -> Iterable[NDArray[np.generic]]:
    """The stored values, frame by frame, each of shape (rows, columns)."""
    if syntax in _JPEG:
        return decode_in_child(content)
    return iter_pixels(dataset, decoding_plugin=_PLUGINS[syntax])


def _rescale(dataset: Dataset, index: int) -> tuple[float, float]:
    """Slope and intercept of one frame; 1 and 0 where they are absent."""
    own = item(dataset, "PerFrameFunctionalGroupsSequence", index)
    for group in (own, item(dataset, "SharedFunctionalGroupsSequence")):
        transformation = item(group, "PixelValueTransformationSequence")
        if not _is_empty(transformation, "RescaleSlope"):
            return _slope_and_intercept(transformation)
    return _slope_and_intercept(dataset)


def _slope_and_intercept(dataset: Dataset) -> tuple[float, float]:
    slope = _factor(dataset, "RescaleSlope", default=1.0)
    intercept = _factor(dataset, "RescaleIntercept", default=0.0)
    if slope == 0:
        raise ImpossibleRescale
    return slope, intercept


def _factor(dataset: Dataset, keyword: str, default: float) -> float:
    """A number that may be absent; one that is malformed does not count as absent."""
    if _is_empty(dataset, keyword):
        return default
    if (value := number(dataset, keyword)) is None:
        raise ImpossibleRescale
    return value


def _is_empty(dataset: Dataset, keyword: str) -> bool:
    """Whether an attribute is absent or has no value, without parsing the value."""
    if keyword not in dataset:
        return True
    value = dataset.get_item(keyword).value
    return value is None or (isinstance(value, bytes | str) and not value.strip())


def _inverted(stored: Frames, dataset: Dataset) -> Frames:
    bits = integer(dataset, "BitsStored") or 16
    signed = integer(dataset, "PixelRepresentation") == 1
    # Lowest plus highest stored value: 2^n - 1 unsigned, -1 in two's complement.
    return np.float32(-1 if signed else 2**bits - 1) - stored
