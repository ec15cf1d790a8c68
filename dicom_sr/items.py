"""Creates and finds content items of an SR document tree (PS3.3 C.17.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
    RelationshipTypeValues,
    ScoordContentItem,
    TextContentItem,
    UIDRefContentItem,
)
from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_sr import codes
from dicom_sr.errors import ReportError

CONTAINS: Final = RelationshipTypeValues.CONTAINS
CONTEXT: Final = RelationshipTypeValues.HAS_OBS_CONTEXT
MODIFIER: Final = RelationshipTypeValues.HAS_CONCEPT_MOD
INFERRED_FROM: Final = RelationshipTypeValues.INFERRED_FROM
SELECTED_FROM: Final = RelationshipTypeValues.SELECTED_FROM

Relation = RelationshipTypeValues


def container(
    name: Code, children: Sequence[ContentItem], *, template: str | None = None
) -> ContentItem:
    """A CONTAINER with its children; `template` is its identifier in PS3.16."""
    item = ContainerContentItem(
        name, is_content_continuous=False, template_id=template, relationship_type=CONTAINS
    )
    return _with(item, children)


def code(
    name: Code, value: Code, relation: Relation, children: Sequence[ContentItem] = ()
) -> ContentItem:
    """A CODE item."""
    return _with(CodeContentItem(name, value, relationship_type=relation), children)


def text(name: Code, value: str, relation: Relation) -> ContentItem:
    """A TEXT item."""
    return TextContentItem(name, value, relationship_type=relation)


def uid(name: Code, value: str, relation: Relation) -> ContentItem:
    """A UIDREF item."""
    return UIDRefContentItem(name, value, relationship_type=relation)


def percent(name: Code, fraction: float, children: Sequence[ContentItem] = ()) -> ContentItem:
    """A NUM item with a fraction of 0..1 as a percentage, exact to 1e-6."""
    value = round(fraction * 100, 4)
    return _with(NumContentItem(name, value, codes.PERCENT, relationship_type=CONTAINS), children)


def image(source: Dataset, frame: int | None, relation: Relation) -> ContentItem:
    """An IMAGE item that refers to one source image or one frame of it."""
    return ImageContentItem(
        codes.SOURCE_OF_MEASUREMENT,
        source.SOPClassUID,
        source.SOPInstanceUID,
        referenced_frame_numbers=frame,
        relationship_type=relation,
    )


def point(column: float, row: float, selected_from: ContentItem) -> ContentItem:
    """A SCOORD POINT on an IMAGE item; (0, 0) is the centre of the first pixel.

    In DICOM the centre of the first pixel is (0.5, 0.5) (PS3.3 C.18.6.1.2). `point_of` is
    the inverse; no other code converts between the two.
    """
    corner = np.array([[column + 0.5, row + 0.5]])
    item = ScoordContentItem(codes.SOURCE, "POINT", corner, relationship_type=INFERRED_FROM)
    return _with(item, [selected_from])


def point_of(scoord: Dataset) -> tuple[float, float]:
    """Column and row of a SCOORD POINT; (0, 0) is the centre of the first pixel."""
    column, row = scoord.GraphicData
    return float(column) - 0.5, float(row) - 0.5


def fraction_of(num: Dataset) -> float:
    """The fraction of 0..1 that `percent` wrote."""
    return round(float(num.MeasuredValueSequence[0].NumericValue) / 100, 6)


def value_code(item: Dataset) -> Code:
    """The value of a CODE item."""
    return _code(item.ConceptCodeSequence[0])


def children(parent: Dataset, name: Code, value_type: str) -> Iterator[Dataset]:
    """The direct children with this concept name and value type, in order."""
    for item in parent.get("ContentSequence", ()):
        names: Iterable[Dataset] = item.get("ConceptNameCodeSequence", ())
        if item.get("ValueType") == value_type and any(_code(n) == name for n in names):
            yield item


def child(parent: Dataset, name: Code, value_type: str) -> Dataset:
    """The only such child; raises ReportError when there is none or more than one."""
    matches = list(children(parent, name, value_type))
    if len(matches) != 1:
        raise ReportError(f"expected one {value_type} {name.meaning!r}, found {len(matches)}")
    return matches[0]


def _with(item: ContentItem, children: Sequence[ContentItem]) -> ContentItem:
    if children:
        item.ContentSequence = ContentSequence(children)
    return item


def _code(item: Dataset) -> Code:
    return Code(
        str(item.CodeValue), str(item.CodingSchemeDesignator), str(item.get("CodeMeaning", ""))
    )
