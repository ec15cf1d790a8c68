"""Finds the DICOM files of a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MAGIC_AT: Final = 128
_SUFFIXES: Final = (".dcm", ".dicom", ".ima")


def dicom_files(place: Path) -> list[Path]:
    """Every file below a folder (or the one file) that looks like DICOM, in a fixed order.

    A file looks like DICOM by its prefix (PS3.10 7.1), by a first element where the preamble is
    missing, or by its suffix; a DICOMDIR does not.
    """
    return [path for path in _files(place) if _looks_like_dicom(path)]


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    for folder, folders, names in os.walk(place):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names))


def _looks_like_dicom(path: Path) -> bool:
    if path.name.upper() == "DICOMDIR" or (path.exists() and not path.is_file()):
        return False  # opening a pipe would block
    if path.suffix.lower() in _SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            head = file.read(_MAGIC_AT + 4)
    except OSError:
        return False
    return head[_MAGIC_AT:] == b"DICM" or begins_with_element(head)


def begins_with_element(head: bytes) -> bool:
    """Whether bytes begin with a data element of group 2 or 8, little endian (PS3.5 7.1).

    Old consoles and treatment planning systems write files without preamble and prefix.
    """
    if len(head) < 8 or head[:2] not in (b"\x02\x00", b"\x08\x00") or head[3] != 0:
        return False
    explicit = head[4:6] in (b"UL", b"OB", b"UI", b"CS", b"SH", b"DA", b"TM", b"LO", b"DT")
    # An implicit length: the first elements are short.
    return explicit or (head[0] == 8 and head[5:8] == b"\0\0\0")
