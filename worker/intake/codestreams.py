"""Reads the size that a compressed frame declares, before a codec decodes it."""

from __future__ import annotations

import struct
from typing import Final

_JPEG2000_SIZE: Final = b"\xff\x4f\xff\x51"
"""Start of codestream directly followed by the SIZ marker (ISO/IEC 15444-1 A.5.1)."""

_JP2_SIGNATURE: Final = b"\x00\x00\x00\x0cjP  "
"""The first box of a JP2 file (I.5.1), which DICOM forbids and some systems write (PS3.5 A.4.4)."""

_JPEG_START: Final = b"\xff\xd8"

_FRAME_HEADERS: Final = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
"""SOF0 to SOF15 without DHT, JPG and DAC (ISO/IEC 10918-1 B.1.1.3); 0xF7 is JPEG-LS."""


def stream_size(frame: bytes) -> tuple[int, int] | None:
    """The (rows, columns) that a JPEG, JPEG-LS, JPEG 2000 or HTJ2K stream declares.

    None for other streams (RLE declares no size) and for one without a frame header;
    (0, 0) for a stream that no greyscale image of 16 bits can have: GDCM crashes the
    process on some of these, and OpenJPEG allocates every component.
    """
    if frame.startswith(_JPEG_START):
        return _jpeg_size(frame)
    start = _codestream_in_jp2(frame) if frame.startswith(_JP2_SIGNATURE) else 0
    if not frame.startswith(_JPEG2000_SIZE, start) or len(frame) < start + 43:
        return None
    right, bottom, left, top = struct.unpack_from(">4I", frame, start + 8)
    components, depth = struct.unpack_from(">HB", frame, start + 40)
    # The depth is the number of bits minus one; its highest bit is the sign flag.
    if components != 1 or depth & 0x7F >= 16:
        return 0, 0
    return bottom - top, right - left


def _codestream_in_jp2(frame: bytes) -> int:
    """The offset of the contiguous codestream box of a JP2 file; the length without one."""
    position = 0
    while position + 8 <= len(frame):
        length, kind = struct.unpack_from(">I4s", frame, position)
        if kind == b"jp2c":
            return position + (16 if length == 1 else 8)
        if length < 8:
            break
        position += length
    return len(frame)


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in _FRAME_HEADERS:
            if position + 10 > len(frame):
                return None
            length, precision, rows, columns, components = struct.unpack_from(
                ">HBHHB", frame, position + 2
            )
            if length != 8 + 3 * components or components != 1 or not 2 <= precision <= 16:
                return 0, 0
            return rows, columns
        position += 2 + int(struct.unpack_from(">H", frame, position + 2)[0])
    return None
