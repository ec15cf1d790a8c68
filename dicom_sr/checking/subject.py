"""The SR as the rules read it, and the problems that they report."""

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
    """A problem for validators, viewers or readers; `what` quotes no header value.

    With an error, some systems reject the SR or display it wrongly; a warning is less severe.
    """

    severity: Literal["error", "warning"]
    where: str
    what: str


def error(where: str, what: str) -> Problem:
    """A problem that makes systems reject the SR or display it wrongly."""
    return Problem("error", where, what)


def warning(where: str, what: str) -> Problem:
    """A less severe problem."""
    return Problem("warning", where, what)


@dataclass(frozen=True, eq=False)
class Group:
    """One measurement group (TID 1501); `number` counts from 1 in the order of the document."""

    node: Node
    number: int

    @cached_property
    def identifier(self) -> str:
        """The tracking identifier; empty where it is absent."""
        nodes = self.node.below("TEXT", codes.TRACKING_IDENTIFIER)
        return text(nodes[0].dataset, "TextValue") if nodes else ""

    @cached_property
    def where(self) -> str:
        """The name of the group in a problem, such as `group 3 (L4/L5 spinal canal stenosis)`."""
        label = self.identifier.removeprefix(VIEWER_TOOL)[:_LABEL_LENGTH]
        return f"group {self.number} ({label})" if label else f"group {self.number}"

    @cached_property
    def restored(self) -> bool:
        """Whether OHIF restores the group as an annotation instead of only drawing it."""
        return self.identifier.startswith(VIEWER_TOOL)

    def of_type(self, value_type: str) -> list[Node]:
        """All items of one value type at any depth."""
        return [node for node in self.node.walk() if node.value_type == value_type]


@dataclass(frozen=True, eq=False)
class Reference:
    """An image reference of the tree; `point` is the SCOORD on the image, if any."""

    where: str
    sop_class_uid: str
    sop_instance_uid: str
    frames: tuple[float, ...]
    point: Node | None


class Subject:
    """An SR to check; `images` are the headers of its source images, if known."""

    def __init__(self, dataset: Dataset, images: Iterable[Dataset] = ()) -> None:
        self.dataset = dataset
        self.root = Node(dataset)
        self.images = tuple(images)

    @cached_property
    def headers(self) -> Mapping[str, tuple[Dataset, ...]]:
        """The given headers of the study of the document, by SOP Instance UID."""
        study = text(self.dataset, "StudyInstanceUID")
        by_uid: dict[str, tuple[Dataset, ...]] = {}
        for header in self.images:
            if text(header, "StudyInstanceUID") == study:
                uid = text(header, "SOPInstanceUID")
                by_uid[uid] = (*by_uid.get(uid, ()), header)
        return by_uid

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The measurement groups by the path that OHIF follows."""
        nodes = (
            node
            for measurements in self.root.below("CONTAINER", codes.IMAGING_MEASUREMENTS)
            for node in measurements.below("CONTAINER", codes.MEASUREMENT_GROUP)
        )
        return tuple(Group(node, number) for number, node in enumerate(nodes, start=1))

    def where(self, node: Node) -> str:
        """The name of a content item in a problem, with its group if any."""
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
        """Every image reference of the tree, in document order."""
        return tuple(self._image_references())

    def _image_references(self) -> Iterator[Reference]:
        # The root has no parent and is not a reference.
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
        listed: dict[str, set[str]] = {}
        for keyword in _EVIDENCE:
            for series, instance in references(self.dataset, keyword):
                listed.setdefault(instance, set()).add(series)
        return {uid: frozenset(series) for uid, series in listed.items()}
