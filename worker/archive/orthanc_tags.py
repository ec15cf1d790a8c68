"""Orthanc's JSON of tags, as `?short` gives it, turned back into a pydicom header.

Orthanc writes every value as one string: several values joined by a backslash, numbers in
decimal, text decoded to Unicode, sequences as lists. Null stands for a binary value or
one over 256 characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydicom import DataElement, Dataset, Sequence, config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import empty_value_for_VR
from pydicom.tag import BaseTag, Tag

_INTEGERS: Final = frozenset({"US", "SS", "UL", "SL", "UV", "SV"})
_FLOATS: Final = frozenset({"FL", "FD"})
_ONE_TEXT: Final = frozenset({"ST", "LT", "UT", "UR"})  # a backslash is text there (PS3.5 6.2)
_BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_SPECIFIC_CHARACTER_SET: Final = 0x00080005
_PIXEL_REPRESENTATION: Final = "0028,0103"


def header_from_tags(tags: Mapping[str, Any]) -> Dataset:
    """The header that Orthanc describes, without pixels, private and binary attributes.

    An attribute whose value breaks its VR is left out, as if it were absent.
    """
    signed = tags.get(_PIXEL_REPRESENTATION) == "1"
    header = _dataset(tags, signed=signed)
    # Orthanc decoded the text, perhaps by its DefaultEncoding where the file named none.
    if _SPECIFIC_CHARACTER_SET not in header and not str(tags).isascii():
        header.SpecificCharacterSet = "ISO_IR 192"
    return header


def _dataset(tags: Mapping[str, Any], *, signed: bool) -> Dataset:
    dataset = Dataset()
    for name, value in tags.items():
        tag = Tag(int(name[:4], 16), int(name[5:9], 16))
        vr = _vr(tag, signed=signed)
        if vr is None or value is None:
            continue
        try:
            # pydicom's warnings about odd values quote them, and they may be a patient's.
            element = DataElement(
                tag, vr, _value(vr, value, signed=signed), validation_mode=config.IGNORE
            )
        except (ValueError, TypeError, OverflowError):
            continue
        dataset.add(element)
    return dataset


def _vr(tag: BaseTag, *, signed: bool) -> str | None:
    """The VR by the dictionary, `US or SS` resolved (PS3.5 annex A); None for what is left out."""
    if tag.is_private or tag.group < 0x0008:
        return None
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return None
    if vr.startswith("US or SS"):
        return "SS" if signed else "US"
    return None if vr[:2] in _BINARY else vr


def _value(vr: str, value: str | list[Mapping[str, Any]], *, signed: bool) -> object:
    if not isinstance(value, str):
        return Sequence([_dataset(item, signed=signed) for item in value])
    if not value:
        return empty_value_for_VR(vr)
    if vr in _ONE_TEXT:
        return value
    parts = [_part(vr, part) for part in value.split("\\")]
    return parts[0] if len(parts) == 1 else parts


def _part(vr: str, part: str) -> object:
    if vr in _INTEGERS:
        return int(part)
    if vr in _FLOATS:
        return float(part)
    if vr == "AT":
        return Tag(int("".join(c for c in part if c.isalnum()), 16))
    return part
