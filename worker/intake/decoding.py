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
from pydicom import DataElement, Dataset, config, dcmread, uid
from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels.utils import iter_pixels
from pydicom.tag import BaseTag

from dicom_sr.attributes import integer, text, with_point
from worker.domain.study import Instance, SliceHeader, Unreadable
from worker.intake.files import begins_with_element
from worker.intake.gdcm_child import decode_in_child
from worker.intake.pixel_limits import DecompressionBomb, NoPixels, checked_shape, declared_bytes
from worker.intake.stored_values import ImpossibleRescale, contradicted_bits, inverted, rescale

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
_UNPACKED: Final = _NATIVE | {uid.RLELossless}
"""Transfer syntaxes that store cells as they are: High Bit and Bits Stored matter."""
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
        if tag.is_private or not _is_readable(header, tag):
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


def _is_readable(header: Dataset, tag: BaseTag) -> bool:
    """Whether an element can be parsed, perhaps after its decimal commas became points."""
    if not isinstance(guarded("", partial(header.get, tag)), Unreadable):
        return True
    raw = header.get_item(tag)
    if raw.VR != "DS" and dictionary_has_tag(tag) and dictionary_VR(tag) != "DS":
        return False
    return not isinstance(
        guarded("", partial(_point_for_comma, header, tag, raw.value)), Unreadable
    )


def _point_for_comma(header: Dataset, tag: BaseTag, stored: bytes) -> None:
    parts = [with_point(part) for part in stored.decode("ascii").split("\\")]
    header[tag] = DataElement(tag, "DS", parts)
    header.get(tag)


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
    head = file.read(132)
    file.seek(0)
    without_preamble = head[128:] != b"DICM" and begins_with_element(head)
    read_preamble(file, force=without_preamble)
    meta = read_dataset(
        file,
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, _vr, _length: tag >> 16 != 2,
    )
    if meta.get("TransferSyntaxUID") == uid.DeflatedExplicitVRLittleEndian:
        return _inflated(file.read(), meta, stop_before_pixels=stop_before_pixels)
    file.seek(0)
    dataset = dcmread(file, stop_before_pixels=stop_before_pixels, force=without_preamble)
    if without_preamble and "TransferSyntaxUID" not in dataset.file_meta:
        implicit, _ = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = (
            uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
        )
    return dataset


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
    bits = contradicted_bits(dataset) if syntax in _UNPACKED else None
    if bits is not None:
        # pydicom would clear bits by these attributes: it reads whole cells.
        dataset.BitsStored = dataset.BitsAllocated
        dataset.HighBit = dataset.BitsAllocated - 1
    frames = np.empty(shape, np.float32)
    count = 0
    for index, stored in enumerate(_stored_frames(dataset, syntax, content)):
        if index >= len(frames):
            break
        slope, intercept = rescale(dataset, index)
        values_ = (bits.settle(stored) if bits else stored).astype(np.float32)
        if photometric == "MONOCHROME1":
            values_ = inverted(values_, dataset)
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
    return syntax


def _stored_frames(
    dataset: Dataset, syntax: uid.UID, content: bytes
) -> Iterable[NDArray[np.generic]]:
    """The stored values, frame by frame, each of shape (rows, columns)."""
    if syntax in _JPEG:
        return decode_in_child(content)
    return iter_pixels(dataset, decoding_plugin=_PLUGINS[syntax])
