"""What a compressed frame says about its own size, before a codec believes it."""

from __future__ import annotations

import struct
from typing import Final

_JPEG2000_SIZE: Final = b"\xff\x4f\xff\x51"
"""Start of codestream directly followed by the SIZ marker (ISO/IEC 15444-1 A.5.1)."""

_JPEG_START: Final = b"\xff\xd8"

_FRAME_HEADERS: Final = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
"""SOF0 to SOF15 without DHT, JPG and DAC (ISO/IEC 10918-1 B.1.1.3); 0xF7 is JPEG-LS."""


def stream_size(frame: bytes) -> tuple[int, int] | None:
    """The (rows, columns) that a JPEG, JPEG-LS or JPEG 2000 stream announces.

    None for other streams (RLE announces no size) and for one without a frame header;
    (0, 0) for a JPEG whose frame header no greyscale image of 16 bits can have: GDCM
    crashes the process on some of these.
    """
    if frame.startswith(_JPEG_START):
        return _jpeg_size(frame)
    start = frame[:256].find(_JPEG2000_SIZE)
    if start < 0 or len(frame) < start + 24:
        return None
    right, bottom, left, top = struct.unpack_from(">4I", frame, start + 8)
    return bottom - top, right - left


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
