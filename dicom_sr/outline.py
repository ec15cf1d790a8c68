"""The content tree of an SR as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydicom import Dataset

from dicom_sr.attributes import code, items, numbers, text
from dicom_sr.nodes import Node

_TEXTS: Final = {
    "TEXT": "TextValue",
    "UIDREF": "UID",
    "DATE": "Date",
    "TIME": "Time",
    "DATETIME": "DateTime",
    "PNAME": "PersonName",
}
_REFERENCES: Final = ("IMAGE", "COMPOSITE", "WAVEFORM")


def outline(dataset: Dataset) -> Iterator[str]:
    """One line for each content item of any SR, however broken: relationship, type, name, value.

    Two spaces of indentation for each level of the tree (PS3.3 C.17.3).
    """
    for node in Node(dataset).walk():
        name = node.name.meaning or node.name.value if node.name else ""
        label = " ".join(filter(None, (node.relation.lower(), node.value_type or "?", name)))
        line = " = ".join(filter(None, (label, _value(node))))
        yield "  " * node.place.count(".") + _plain(line)


def _plain(line: str) -> str:
    """On one line, without control characters."""
    return "".join(letter for letter in " ".join(line.split()) if letter.isprintable())


def _value(node: Node) -> str:
    """The value of a content item; empty where it has none."""
    item = node.dataset
    if keyword := _TEXTS.get(node.value_type):
        return text(item, keyword)
    if node.value_type == "CODE":
        return _code(item, "ConceptCodeSequence")
    if node.value_type == "NUM":
        return ", ".join(
            f"{text(measured, 'NumericValue')} {_unit(measured)}".strip()
            for measured in items(item, "MeasuredValueSequence")
        )
    if node.value_type in ("SCOORD", "SCOORD3D"):
        where = ", ".join(f"{number:.10g}" for number in numbers(item, "GraphicData"))
        return f"{text(item, 'GraphicType')} {where}".strip()
    if node.value_type in _REFERENCES:
        return ", ".join(_reference(image) for image in items(item, "ReferencedSOPSequence"))
    return ""


def _code(item: Dataset, keyword: str) -> str:
    coded = code(item, keyword)
    return f"{coded.meaning} ({coded.value}, {coded.scheme_designator})" if coded else ""


def _unit(measured: Dataset) -> str:
    unit = code(measured, "MeasurementUnitsCodeSequence")
    return unit.value if unit else ""


def _reference(image: Dataset) -> str:
    frame = text(image, "ReferencedFrameNumber")
    return text(image, "ReferencedSOPInstanceUID") + (f" frame {frame}" if frame else "")
