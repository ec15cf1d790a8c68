"""Reads attribute values from any dataset: what is absent, empty or malformed counts as absent.

Nothing here raises, however broken the dataset is.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any, Final

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.sr.coding import Code

UNREADABLE: Final = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What pydicom raises for malformed values; it parses them on access."""

_CODE_VALUES: Final = ("CodeValue", "LongCodeValue", "URNCodeValue")


def values(dataset: Dataset, keyword: str) -> tuple[Any, ...]:
    """All values of an attribute; empty where it is absent, empty or malformed."""
    try:
        return _as_tuple(dataset.get(keyword))
    except UNREADABLE:
        return ()


def text(dataset: Dataset, keyword: str) -> str:
    """The values as one text, joined by backslashes, each without outer spaces.

    Empty for binary values and sequences.
    """
    return "\\".join(_texts(dataset, keyword))


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """The values in upper case and without outer spaces, as code strings are compared."""
    return tuple(value.upper() for value in _texts(dataset, keyword))


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """The values as numbers, not all of them finite; empty where one is not a number."""
    try:
        return tuple(map(decimal, values(dataset, keyword)))
    except UNREADABLE:
        return ()


def decimal(value: object) -> float:
    """A number, also one written with a decimal comma; raise ValueError for anything else."""
    return float(with_point(value) if isinstance(value, str) else value)  # type: ignore[arg-type]


def with_point(text: str) -> str:
    """A number's text with a decimal point where it has one comma and no point."""
    return text.replace(",", ".") if text.count(",") == 1 and "." not in text else text


def number(dataset: Dataset, keyword: str) -> float | None:
    """The first value as a finite number."""
    found = numbers(dataset, keyword)[:1]
    return found[0] if found and math.isfinite(found[0]) else None


def integer(dataset: Dataset, keyword: str) -> int | None:
    """The first value as a whole number."""
    first = number(dataset, keyword)
    return None if first is None or first != int(first) else int(first)


def vector(dataset: Dataset, keyword: str, length: int) -> tuple[float, ...] | None:
    """Exactly `length` finite numbers; None where the attribute holds anything else."""
    components = numbers(dataset, keyword)
    if len(components) != length or not all(map(math.isfinite, components)):
        return None
    return components


def items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """The items of a sequence."""
    return tuple(item for item in values(dataset, keyword) if isinstance(item, Dataset))


def item(dataset: Dataset, keyword: str, index: int = 0) -> Dataset:
    """One item of a sequence; an empty dataset where there is none."""
    nested = values(dataset, keyword)[index : index + 1]
    return nested[0] if nested and isinstance(nested[0], Dataset) else Dataset()


def functional_group(header: Dataset, frame: Dataset, keyword: str) -> Dataset:
    """A functional group of one frame, else the shared one (PS3.3 C.7.6.16)."""
    shared = item(header, "SharedFunctionalGroupsSequence")
    return item(frame if values(frame, keyword) else shared, keyword)


def code(dataset: Dataset, keyword: str) -> Code | None:
    """The code in the first item of a code sequence; None where it has no value or scheme."""
    for coded in items(dataset, keyword)[:1]:
        value = next(filter(None, (text(coded, name) for name in _CODE_VALUES)), "")
        scheme = text(coded, "CodingSchemeDesignator")
        if value and scheme:
            return Code(value, scheme, text(coded, "CodeMeaning"))
    return None


def references(dataset: Dataset, keyword: str) -> Iterator[tuple[str, str]]:
    """Series and SOP Instance UIDs in a sequence of hierarchical references (C.17.2.1)."""
    for study in items(dataset, keyword):
        for series in items(study, "ReferencedSeriesSequence"):
            for instance in items(series, "ReferencedSOPSequence"):
                yield (
                    text(series, "SeriesInstanceUID"),
                    text(instance, "ReferencedSOPInstanceUID"),
                )


def elements(dataset: Dataset) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Every readable element outside of the content tree: its path of keywords, VR, texts."""
    pending = [("", dataset)]
    while pending:
        path, current = pending.pop()
        for tag in sorted(current.keys()):
            try:
                element = current[tag]
                name = path + (keyword_for_tag(tag) or str(tag))
                nested = _as_tuple(element.value)
                if element.VR != "SQ":
                    yield (
                        name,
                        element.VR,
                        tuple(str(v) for v in nested if not isinstance(v, bytes)),
                    )
            except UNREADABLE:
                continue
            if name != "ContentSequence":
                pending += [(f"{name}.", each) for each in nested if isinstance(each, Dataset)]


def _texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    parts = values(dataset, keyword)
    if any(isinstance(part, bytes | Dataset) for part in parts):
        return ()
    try:
        return tuple(str(part).strip() for part in parts)
    except UNREADABLE:
        return ()


def _as_tuple(value: object) -> tuple[Any, ...]:
    if isinstance(value, MultiValue | Sequence | list | tuple):
        return tuple(value)
    return () if value is None or value == "" else (value,)
