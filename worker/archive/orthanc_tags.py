"""Converts Orthanc's JSON of tags, as `?short` returns it, to a pydicom header.

Orthanc writes every value as one string: multiple values joined by a backslash, numbers in
decimal, text decoded to Unicode, sequences as lists. Null stands for a binary value or one over
256 characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from pydicom import DataElement, Dataset, Sequence, config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import empty_value_for_VR
from pydicom.tag import BaseTag, Tag

from dicom_sr.attributes import with_point
from worker.domain.study import Unreadable
from worker.intake.decoding import MAX_NESTING, guarded

_INTEGERS: Final = frozenset({"US", "SS", "UL", "SL", "UV", "SV"})
_FLOATS: Final = frozenset({"FL", "FD"})
_ONE_TEXT: Final = frozenset({"ST", "LT", "UT", "UR"})  # a backslash is text there (PS3.5 6.2)
_BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_SPECIFIC_CHARACTER_SET: Final = 0x00080005
_PIXEL_REPRESENTATION: Final = "0028,0103"


def header_from_tags(tags: object) -> Dataset:
    """The header in these tags, without pixels, private and binary attributes.

    An attribute whose value violates its VR or Orthanc's format is left out, as if it were
    absent; anything but an object gives an empty header.
    """
    if not isinstance(tags, Mapping):
        return Dataset()
    signed = tags.get(_PIXEL_REPRESENTATION) == "1"
    header = _dataset(tags, MAX_NESTING, signed=signed)
    # Orthanc decoded the text, perhaps by its DefaultEncoding where the file named none.
    ascii_alone = guarded("", lambda: str(tags).isascii())
    if _SPECIFIC_CHARACTER_SET not in header and ascii_alone is not True:
        header.SpecificCharacterSet = "ISO_IR 192"
    return header


def _dataset(tags: Mapping[str, object], nesting: int, *, signed: bool) -> Dataset:
    dataset = Dataset()
    for name, value in tags.items():
        element = guarded(str(name), partial(_element, name, value, nesting, signed=signed))
        if element is not None and not isinstance(element, Unreadable):
            dataset.add(element)
    return dataset


def _element(name: str, value: object, nesting: int, *, signed: bool) -> DataElement | None:
    """One attribute, None if it is left out; raises any error if it is malformed."""
    tag = Tag(int(name[:4], 16), int(name[5:9], 16))
    vr = _vr(tag, signed=signed)
    if vr is None or value is None or (vr == "SQ" and not nesting):
        return None
    # pydicom's warnings quote invalid values, and those may be a patient's.
    return DataElement(
        tag, vr, _value(vr, value, nesting, signed=signed), validation_mode=config.IGNORE
    )


def _vr(tag: BaseTag, *, signed: bool) -> str | None:
    """The VR by the dictionary, `US or SS` resolved (PS3.5 annex A); None if it is left out."""
    if tag.is_private or tag.group < 0x0008:
        return None
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return None
    if vr.startswith("US or SS"):
        return "SS" if signed else "US"
    return None if vr[:2] in _BINARY else vr


def _value(vr: str, value: object, nesting: int, *, signed: bool) -> object:
    if isinstance(value, list) and vr == "SQ":
        return Sequence([_dataset(item, nesting - 1, signed=signed) for item in value])
    if not isinstance(value, str):
        raise TypeError("neither text nor a list of items")
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
    if vr == "DS":
        return with_point(part)
    if vr == "AT":
        return Tag(int("".join(c for c in part if c.isalnum()), 16))
    return part
