"""What the rules look at, and what they say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pydicom import Dataset

from dicom_sr import codes
from dicom_sr.attributes import items, numbers, references, text
from dicom_sr.content import VIEWER_TOOL
from dicom_sr.nodes import Node

_EVIDENCE = ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
_LABEL_LENGTH = 64


@dataclass(frozen=True)
class Problem:
    """One thing that a validator, a viewer or a reader stumbles over; it quotes no header value.

    An error is refused, not shown or shown wrongly by some; a warning costs comfort.
    """

    severity: Literal["error", "warning"]
    where: str
    what: str


def error(where: str, what: str) -> Problem:
    """A problem that somebody refuses or shows wrongly."""
    return Problem("error", where, what)


def warning(where: str, what: str) -> Problem:
    """A problem that costs comfort."""
    return Problem("warning", where, what)


@dataclass(frozen=True, eq=False)
class Group:
    """One measurement group (TID 1501); `number` counts from 1 in the order of the document."""

    node: Node
    number: int

    @cached_property
    def identifier(self) -> str:
        """Its tracking identifier; empty where it has none."""
        found = self.node.below("TEXT", codes.TRACKING_IDENTIFIER)
        return text(found[0].dataset, "TextValue") if found else ""

    @cached_property
    def where(self) -> str:
        """Its name in a problem, such as `group 3 (L4/L5 spinal canal stenosis)`."""
        label = self.identifier.removeprefix(VIEWER_TOOL)[:_LABEL_LENGTH]
        return f"group {self.number} ({label})" if label else f"group {self.number}"

    @cached_property
    def restored(self) -> bool:
        """Whether OHIF restores it as an annotation, and not merely draws it."""
        return self.identifier.startswith(VIEWER_TOOL)

    def of_type(self, value_type: str) -> list[Node]:
        """All items of one value type at any depth."""
        return [node for node in self.node.walk() if node.value_type == value_type]


@dataclass(frozen=True, eq=False)
class Reference:
    """An image that the tree refers to; `point` is the SCOORD on it, if there is one."""

    where: str
    sop_class_uid: str
    sop_instance_uid: str
    frames: tuple[float, ...]
    point: Node | None


class Subject:
    """An SR as the rules see it; `images` are the headers of its source images, if known."""

    def __init__(self, dataset: Dataset, images: Iterable[Dataset] = ()) -> None:
        self.dataset = dataset
        self.root = Node(dataset)
        self.images = tuple(images)

    @cached_property
    def headers(self) -> Mapping[str, tuple[Dataset, ...]]:
        """The headers given that are of the document's study, by SOP Instance UID."""
        study = text(self.dataset, "StudyInstanceUID")
        found: dict[str, tuple[Dataset, ...]] = {}
        for header in self.images:
            if text(header, "StudyInstanceUID") == study:
                uid = text(header, "SOPInstanceUID")
                found[uid] = (*found.get(uid, ()), header)
        return found

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The measurement groups by the path that OHIF takes."""
        found = (
            node
            for measurements in self.root.below("CONTAINER", codes.IMAGING_MEASUREMENTS)
            for node in measurements.below("CONTAINER", codes.MEASUREMENT_GROUP)
        )
        return tuple(Group(node, number) for number, node in enumerate(found, start=1))

    def where(self, node: Node) -> str:
        """The name of a content item in a problem, with its group where it stands in one."""
        if node.place == self.root.place:
            return "document"
        for group in self.groups:
            if node.place == group.node.place:
                return group.where
            if node.place.startswith(f"{group.node.place}."):
                return f"{group.where}, item {node.place}"
        return f"item {node.place}"

    @cached_property
    def references(self) -> tuple[Reference, ...]:
        """Every image that the tree refers to, in the order of the document."""
        return tuple(self._image_references())

    def _image_references(self) -> Iterator[Reference]:
        # The root is nobody's child, and no reference hangs on it.
        for parent in self.root.walk():
            for node in parent.below("IMAGE"):
                for item in items(node.dataset, "ReferencedSOPSequence"):
                    yield Reference(
                        self.where(node),
                        text(item, "ReferencedSOPClassUID"),
                        text(item, "ReferencedSOPInstanceUID"),
                        numbers(item, "ReferencedFrameNumber"),
                        parent if parent.value_type == "SCOORD" else None,
                    )

    @cached_property
    def evidence(self) -> Mapping[str, frozenset[str]]:
        """The series under which each SOP Instance UID is listed as evidence."""
        found: dict[str, set[str]] = {}
        for keyword in _EVIDENCE:
            for series, instance in references(self.dataset, keyword):
                found.setdefault(instance, set()).add(series)
        return {uid: frozenset(series) for uid, series in found.items()}
