"""Values that no attribute should have, by the name that a failing case is printed with."""

from __future__ import annotations

import struct
from typing import Final

MARKS: Final = ("Zzmarkname", "ZZMARKID", "19010203")
"""Name, id and birth date of the patient: no message, log line or file name may hold them."""

_TEXTS: Final = {
    "empty": b"",
    "blank": b"  ",
    "NUL": b"\0\0\0\0",
    "odd length": b"1.5",
    "0": b"0 ",
    "1": b"1 ",
    "-1": b"-1",
    "1.5": b"1.5 ",
    "NaN": b"NaN ",
    "infinite": b"inf ",
    "1e400": b"1e400 ",
    "1e308": b"1e308 ",
    "1e-308": b"1e-308",
    "1e18": b"1e18",
    "300 digits": b"9" * 300,
    "400 digits": b"9" * 400,
    "5000 digits": b"9" * 5000,
    "65535": b"65535 ",
    "2147483648": b"2147483648",
    "two zeros": b"0\\0 ",
    "two huge": b"1e30\\1e30 ",
    "two tiny": b"1e-9\\1e-9 ",
    "two atoms": b"1e-12\\1e-12 ",
    "two 1 cm": b"10\\10 ",
    "two negative": b"-1\\-1 ",
    "three far": b"1e9\\1e9\\1e9 ",
    "three 1e308": b"1e308\\1e308\\-1e308",
    "three NaN": b"nan\\nan\\nan ",
    "three zeros": b"0\\0\\0 ",
    "six zeros": b"0\\0\\0\\0\\0\\0 ",
    "six collinear": b"1\\0\\0\\1\\0\\0 ",
    "six not unit": b"2\\0\\0\\0\\3\\0 ",
    "six sheared": b"1\\0\\0\\0.7\\0.7\\0 ",
    "six turned": b"0\\-1\\0\\1\\0\\0 ",
    "six head down": b"0\\1\\0\\0\\0\\1 ",
    "six coronal": b"1\\0\\0\\0\\0\\-1",
    "many numbers": b"1\\2\\3\\4\\5\\6\\7 ",
    "many empty": b"\\" * 20,
    "letters": b"abc ",
    "name": MARKS[0].encode(),
    "sagittal T1": b"t1 sag",
    "axial T2": b"t2 tra",
    "STIR cor": b"STIR cor",
    "localizer": b"LOCALIZER ",
    "YES": b"YES ",
    "palette": b"PALETTE COLOR ",
    "RGB": b"RGB ",
    "MONOCHROME1": b"MONOCHROME1 ",
    "UID with letters": b"1.2.3a.Z",
    "UID of 100 characters": b"1." + b"23456789" * 12 + b"11",
    "UID as a path": b"../../../../tmp/x ",
    "UID 1.2": b"1.2\0",
    "SR storage": b"1.2.840.10008.5.1.4.1.1.88.33\0",
    "enhanced storage": b"1.2.840.10008.5.1.4.1.1.4.1\0",
    "date": b"20240101",
    "no date": b"2024-1-1",
    "time": b"1015",
    "no age": b"17 years",
    "age 10": b"010Y",
    "UTF-8": b"ISO_IR 192",
    "Japanese": b"\\ISO 2022 IR 87 ",
    "unknown set": b"ISO_IR 999",
    "codec": b"../codec",
    "other charset": "Müller^Jörg=Ж".encode("cp1251", "replace") + b" ",
    "escapes": b"\x1b$B;3ED\x1b(B\x1b)I ",
    "no UTF-8": b"\xff\xfe\x80\xc3",
    "markup": b"<b>[/red]%s{0}\n\r\x1b[2J ",
    "64 KiB": b"A" * 65534,
    "64 KiB of numbers": b"1\\" * 32767,
}
_BINARY: Final = {
    "one byte": b"\x01",
    "three bytes": b"\x01\x02\x03",
    "u16 0": struct.pack("<H", 0),
    "u16 1": struct.pack("<H", 1),
    "u16 3": struct.pack("<H", 3),
    "u16 8": struct.pack("<H", 8),
    "u16 17": struct.pack("<H", 17),
    "u16 32": struct.pack("<H", 32),
    "u16 64": struct.pack("<H", 64),
    "u16 4096": struct.pack("<H", 4096),
    "u16 65535": struct.pack("<H", 65535),
    "two u16": struct.pack("<2H", 40, 65535),
    "u32": struct.pack("<I", 2**32 - 1),
    "float NaN": struct.pack("<f", float("nan")),
    "double": struct.pack("<d", 90.0),
    "double NaN": struct.pack("<d", float("nan")),
    "double infinite": struct.pack("<d", float("-inf")),
    "double 1e308": struct.pack("<d", 1e308),
    "six doubles": struct.pack("<6d", 1e300, 0, 0, 0, 1e300, 0),
}


def _item(content: bytes) -> bytes:
    """One item of undefined length (PS3.5 7.5.2)."""
    return b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + content + b"\xfe\xff\x0d\xe0\0\0\0\0"


def _nested(depth: int) -> bytes:
    """Items within items, each in a Content Sequence of undefined length."""
    head, tail = b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff", b"\xfe\xff\xdd\xe0\0\0\0\0"
    inside = b""
    for _ in range(depth):
        inside = head + _item(inside) + tail
    return _item(inside)


_SEQUENCES: Final = {
    "no item": b"",
    "one empty item": _item(b""),
    "three empty items": _item(b"") * 3,
    "item without end": b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
    "item longer than all": b"\xfe\xff\x00\xe0\xff\xff\xff\x7f",
    "items of nothing known": _item(b"\x01\x02\x03\x04\x05\x06"),
    "nested 20 deep": _nested(20),
    "nested 200 deep": _nested(200),
    "nested 2000 deep": _nested(2000),
}

VALUES: Final = _TEXTS | _BINARY | _SEQUENCES
"""The bytes of each, as little endian files hold them."""

_OF_VR: Final = {
    **dict.fromkeys(("US", "SS", "UL", "SL", "FL", "FD", "AT", "OB", "OW"), tuple(_BINARY)),
    "SQ": tuple(_SEQUENCES),
}


def fitting(vr: str) -> tuple[str, ...]:
    """The names of the values that one may meet in an attribute of this VR."""
    return _OF_VR.get(vr, tuple(_TEXTS))
