"""Looking at a dataset that may be broken anywhere: nothing in here raises.

What cannot be read counts as absent, as it does for viewers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
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
"""What pydicom raises for bytes that are not what they claim to be, when they are looked at."""

_CODE_VALUES: Final = ("CodeValue", "LongCodeValue", "URNCodeValue")


def values(dataset: Dataset, keyword: str) -> tuple[Any, ...]:
    """All values of an attribute; empty where it is absent, empty or unreadable."""
    try:
        return _listed(dataset.get(keyword))
    except UNREADABLE:
        return ()


def text(dataset: Dataset, keyword: str) -> str:
    """The values as one text, without outer spaces; empty for bytes and sequences."""
    found = values(dataset, keyword)
    if any(isinstance(value, bytes | Dataset) for value in found):
        return ""
    try:
        return "\\".join(str(value).strip() for value in found)
    except UNREADABLE:
        return ""


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """The values as numbers; empty where one of them is none."""
    try:
        return tuple(float(value) for value in values(dataset, keyword))
    except UNREADABLE:
        return ()


def items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """The items of a sequence."""
    return tuple(item for item in values(dataset, keyword) if isinstance(item, Dataset))


def code(dataset: Dataset, keyword: str) -> Code | None:
    """The code in the first item of a code sequence; None where it has no value or scheme."""
    for item in items(dataset, keyword)[:1]:
        value = next(filter(None, (text(item, name) for name in _CODE_VALUES)), "")
        scheme = text(item, "CodingSchemeDesignator")
        if value and scheme:
            return Code(value, scheme, text(item, "CodeMeaning"))
    return None


def references(dataset: Dataset, keyword: str) -> Iterator[tuple[str, str]]:
    """Series and SOP Instance UIDs below a sequence of hierarchical references (C.17.2.1)."""
    for study in items(dataset, keyword):
        for series in items(study, "ReferencedSeriesSequence"):
            for instance in items(series, "ReferencedSOPSequence"):
                yield (
                    text(series, "SeriesInstanceUID"),
                    text(instance, "ReferencedSOPInstanceUID"),
                )


def elements(dataset: Dataset) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Every readable element outside of the content tree: keywords that lead to it, VR, texts."""
    waiting = [("", dataset)]
    while waiting:
        path, current = waiting.pop()
        for tag in sorted(current.keys()):
            try:
                element = current[tag]
                name = path + (keyword_for_tag(tag) or str(tag))
                found = _listed(element.value)
                if element.VR != "SQ":
                    yield name, element.VR, tuple(str(v) for v in found if not isinstance(v, bytes))
            except UNREADABLE:
                continue
            if name != "ContentSequence":
                waiting += [(f"{name}.", item) for item in found if isinstance(item, Dataset)]


def _listed(value: object) -> tuple[Any, ...]:
    if isinstance(value, MultiValue | Sequence | list | tuple):
        return tuple(value)
    return () if value is None or value == "" else (value,)


@dataclass(frozen=True, eq=False)
class Node:
    """One content item (PS3.3 C.17.3) and its place in the tree: `1.11.2`, the root is `1`."""

    dataset: Dataset
    place: str = "1"

    @cached_property
    def value_type(self) -> str:
        """Such as `NUM`; empty where it is absent."""
        return text(self.dataset, "ValueType")

    @cached_property
    def relation(self) -> str:
        """How it stands to its parent, such as `HAS CONCEPT MOD`; empty for the root."""
        return text(self.dataset, "RelationshipType")

    @cached_property
    def name(self) -> Code | None:
        """Its concept name."""
        return code(self.dataset, "ConceptNameCodeSequence")

    @cached_property
    def children(self) -> tuple[Node, ...]:
        """The items below it, in order."""
        below = items(self.dataset, "ContentSequence")
        return tuple(Node(item, f"{self.place}.{n}") for n, item in enumerate(below, start=1))

    def below(self, value_type: str, name: Code | None = None) -> tuple[Node, ...]:
        """Its children of one value type, and of one concept name where that is given."""
        return tuple(
            child
            for child in self.children
            if child.value_type == value_type and (name is None or child.is_a(name))
        )

    def is_a(self, name: Code) -> bool:
        """Whether this is its concept name."""
        return self.name is not None and self.name == name

    def walk(self) -> Iterator[Node]:
        """The item and all items below it, in the order of the document."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed(node.children)
