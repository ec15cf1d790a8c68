"""The content tree of any SR, however broken: nothing here raises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_sr.attributes import code, items, text


@dataclass(frozen=True, eq=False)
class Node:
    """One content item (PS3.3 C.17.3) and its place in the tree: `1.11.2`, the root is `1`."""

    dataset: Dataset
    place: str = "1"

    @cached_property
    def value_type(self) -> str:
        """The value type, such as `NUM`; empty where it is absent."""
        return text(self.dataset, "ValueType")

    @cached_property
    def relation(self) -> str:
        """The relationship to the parent, such as `HAS CONCEPT MOD`; empty for the root."""
        return text(self.dataset, "RelationshipType")

    @cached_property
    def name(self) -> Code | None:
        """The concept name; None where it is absent."""
        return code(self.dataset, "ConceptNameCodeSequence")

    @cached_property
    def children(self) -> tuple[Node, ...]:
        """The items directly below, in order."""
        nested = items(self.dataset, "ContentSequence")
        return tuple(Node(item, f"{self.place}.{n}") for n, item in enumerate(nested, start=1))

    def below(self, value_type: str, name: Code | None = None) -> tuple[Node, ...]:
        """The children of one value type, and of one concept name where that is given."""
        return tuple(
            child
            for child in self.children
            if child.value_type == value_type and (name is None or child.is_a(name))
        )

    def is_a(self, name: Code) -> bool:
        """Whether `name` is the concept name."""
        return self.name is not None and self.name == name

    def walk(self) -> Iterator[Node]:
        """The item and all items below it, in the order of the document."""
        pending = [self]
        while pending:
            node = pending.pop()
            yield node
            pending += reversed(node.children)
