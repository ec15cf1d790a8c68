"""Helpers that break a valid SR: paths to items of its first group, and changes to them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

from pydicom import Dataset

ROOT, MEASUREMENTS, GROUP = "126000", "126010", "125007"
IDENTIFIER, TRACKING, COMMENT = "112039", "112040", "121106"
CERTAINTY, POINT, IMAGE, MODERATE = "111012", "260753009", "121112", "P_MODERATE"
FIRST = "group 1 (L1/L2 spinal canal stenosis)"
"""How the first group of the good SR is named."""

Break = Callable[[Dataset], object]


def at(parent: Dataset, *path: str) -> Dataset:
    """The item below that the code values of the concept names lead to, the first of each."""
    for value in path:
        parent = next(
            item
            for item in parent.ContentSequence
            if item.ConceptNameCodeSequence[0].CodeValue == value
        )
    return parent


def group(sr: Dataset, *path: str) -> Dataset:
    """The first group, or an item in it."""
    return at(sr, MEASUREMENTS, GROUP, *path)


def point(sr: Dataset) -> Dataset:
    """The point of the first group."""
    return group(sr, CERTAINTY, POINT)


def drop(sr: Dataset, *path: str) -> Dataset:
    """Take the item at the end of the path out of the tree; it is returned."""
    parent, item = at(sr, *path[:-1]), at(sr, *path)
    parent.ContentSequence = [child for child in parent.ContentSequence if child is not item]
    return item


def put(**attributes: object) -> Break:
    """Replace attributes of the document."""
    return lambda sr: changed(sr, **attributes)


def put_in(*path: str, **attributes: object) -> Break:
    """Replace attributes of an item of the first group."""
    return lambda sr: changed(group(sr, *path), **attributes)


def changed(item: Dataset, **attributes: object) -> Dataset:
    """The item with attributes replaced."""
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def without(keyword: str) -> Break:
    """Delete an attribute of the document."""
    return lambda sr: sr.pop(keyword)


def group_without(*path: str) -> Break:
    """Take an item out of the first group."""
    return lambda sr: drop(sr, MEASUREMENTS, GROUP, *path)


def move_point(*to: str) -> Break:
    """Hang the first group's point under another item of the group."""

    def move(sr: Dataset) -> None:
        moved = drop(sr, MEASUREMENTS, GROUP, CERTAINTY, POINT)
        parent = group(sr, *to)
        parent.ContentSequence = [*parent.get("ContentSequence", []), moved]

    return move


def second_image(sr: Dataset) -> None:
    """Let the first point lie on two images."""
    point(sr).ContentSequence.append(deepcopy(group(sr, IMAGE)))


def three_dimensional(sr: Dataset) -> None:
    """A point in patient space beside the one on the image."""
    space = deepcopy(point(sr))
    space.ValueType, space.GraphicData = "SCOORD3D", [1.0, 2.0, 3.0]
    group(sr, CERTAINTY).ContentSequence.append(space)


def other_system(sr: Dataset) -> None:
    """A tracking identifier that OHIF does not know."""
    group(sr, IDENTIFIER).TextValue = "Lesion 1"


def shared_uid(sr: Dataset) -> None:
    """The second group has the first one's tracking UID."""
    second = at(sr, MEASUREMENTS).ContentSequence[1]
    at(second, TRACKING).UID = group(sr, TRACKING).UID


def twice(sr: Dataset) -> None:
    """Imaging Measurements stands there twice."""
    sr.ContentSequence.append(deepcopy(at(sr, MEASUREMENTS)))


def group_elsewhere(sr: Dataset) -> None:
    """The first group hangs under the root."""
    sr.ContentSequence.append(drop(sr, MEASUREMENTS, GROUP))


def own_predecessor(sr: Dataset) -> None:
    """The evidence macro, naming the document itself."""
    sr.PredecessorDocumentsSequence = deepcopy(sr.CurrentRequestedProcedureEvidenceSequence)
    series = sr.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = sr.SOPInstanceUID


def evidence(sr: Dataset) -> list[Dataset]:
    """The series listed as evidence: the sagittal one, then the axial one."""
    return sr.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence


def evidence_in_two_series(sr: Dataset) -> None:
    """A sagittal image stands under the axial series too."""
    first, second = evidence(sr)
    second.ReferencedSOPSequence.append(deepcopy(first.ReferencedSOPSequence[0]))


def reference(sr: Dataset) -> Dataset:
    """What the first group's IMAGE refers to: frame 1 of the multi-frame image."""
    return group(sr, IMAGE).ReferencedSOPSequence[0]


def point_on_no_frame(sr: Dataset) -> None:
    """A point on the whole multi-frame image."""
    point(sr).ContentSequence[0].ReferencedSOPSequence = [deepcopy(reference(sr))]
    del point(sr).ContentSequence[0].ReferencedSOPSequence[0].ReferencedFrameNumber


def unreadable_name(sr: Dataset) -> None:
    """What a decoder makes of bytes in no character set."""
    sr.SpecificCharacterSet, sr.PatientName = "ISO_IR 192", "M\ufffdller"


@dataclass(frozen=True)
class Case:
    """A rule, how to violate it, and the reported problem."""

    rule: Callable[..., object]
    break_it: Break
    severity: str
    where: str
    what: str
