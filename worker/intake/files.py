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

    A file looks like DICOM by its prefix (PS3.10 7.1) or its suffix; a DICOMDIR does not.
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
            return file.read(_MAGIC_AT + 4)[_MAGIC_AT:] == b"DICM"
    except OSError:
        return False
