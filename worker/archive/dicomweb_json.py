"""Converts metadata in the DICOM JSON model (PS3.18 annex F) to pydicom headers.

pydicom reads this format, too, but fails for the whole object at its first invalid value.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from pydicom import DataElement, Dataset, Sequence, config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import empty_value_for_VR
from pydicom.tag import Tag
from pydicom.valuerep import STR_VR, VR, format_number_as_ds

from dicom_sr.attributes import with_point
from worker.domain.study import Unreadable
from worker.intake.decoding import MAX_NESTING, guarded

_INTEGERS: Final = frozenset({"US", "SS", "UL", "SL", "UV", "SV"})
_FLOATS: Final = frozenset({"FL", "FD"})
_READ: Final = frozenset(map(str, STR_VR)) | _INTEGERS | _FLOATS | {"AT", "SQ"}
_PIXELS: Final = 0x7FE0
_DS_LENGTH: Final = 16  # PS3.5 6.2


def header_from_json(attributes: object) -> Dataset:
    """The header in these attributes, without pixels, private, binary and bulk data.

    An attribute whose value violates its VR is left out, as if it were absent; anything but an
    object of the DICOM JSON model gives an empty header.
    """
    header = _dataset(attributes, MAX_NESTING) if isinstance(attributes, Mapping) else Dataset()
    # JSON is Unicode, whatever the file was written in (PS3.18 F.2).
    if guarded("", lambda: str(attributes).isascii()) is not True:
        header.SpecificCharacterSet = "ISO_IR 192"
    return header


def _dataset(attributes: Mapping[str, object], nesting: int) -> Dataset:
    dataset = Dataset()
    for name, attribute in attributes.items():
        element = guarded(str(name), partial(_element, name, attribute, nesting))
        if element is not None and not isinstance(element, Unreadable):
            dataset.add(element)
    return dataset


def _element(name: str, attribute: object, nesting: int) -> DataElement | None:
    """One attribute, None if it is left out; raises any error if it is malformed."""
    tag = Tag(int(name, 16))
    if tag.is_private or tag.group < 0x0008 or tag.group == _PIXELS:
        return None
    if not isinstance(attribute, Mapping):
        return None
    vr = dictionary_VR(tag)
    if " or " in vr:  # depends on the pixels (PS3.5 annex A); the server has decided
        vr = str(attribute["vr"])
    if vr not in _READ or "BulkDataURI" in attribute or "InlineBinary" in attribute:
        return None
    given = attribute.get("Value") or []
    if not isinstance(given, list):
        raise TypeError("Value is not a list")
    # pydicom's warnings quote invalid values, and those may be a patient's.
    element = partial(DataElement, tag, vr, validation_mode=config.IGNORE)
    if vr == VR.SQ:
        if not nesting:
            return None
        items = [
            _dataset(item, nesting - 1) if isinstance(item, Mapping) else Dataset()
            for item in given
        ]
        return element(Sequence(items))
    values = [_value(vr, value) for value in given]
    if not values:
        return element(empty_value_for_VR(vr))
    return element(values[0] if len(values) == 1 else values)


def _value(vr: str, value: object) -> object:
    if value is None:
        return ""  # an empty one among several
    if isinstance(value, Mapping):
        if vr != VR.PN:
            raise TypeError("only a person's name has components")
        groups = [str(value.get(name) or "") for name in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    if isinstance(value, list):
        raise TypeError("a list in the list of values")
    if vr in _FLOATS:
        return float(str(value))
    if vr in _INTEGERS or vr == VR.IS:
        return _integer(value)
    if vr == VR.AT:
        return Tag(int(str(value), 16))
    if vr == VR.DS and isinstance(value, str):
        return with_point(value)
    if vr == VR.DS and isinstance(value, int | float):
        # Not the float itself: it may have more digits than DS allows.
        text = repr(value)
        return text if len(text) <= _DS_LENGTH else format_number_as_ds(float(value))
    if not isinstance(value, str):
        raise TypeError("a number instead of text")
    return value


def _integer(value: object) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError("not an integer")
    return int(value) if isinstance(value, float) else int(str(value))
