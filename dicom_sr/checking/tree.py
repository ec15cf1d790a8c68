"""Rules for the content tree: requirements of validators, and of OHIF for groups."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from dicom_sr import codes
from dicom_sr.attributes import code, items, numbers, text, values
from dicom_sr.checking.subject import Group, Problem, Subject, error, warning
from dicom_sr.content import VIEWER_TOOL
from dicom_sr.nodes import Node

_VALUES: Final = {
    "TEXT": "TextValue",
    "CODE": "ConceptCodeSequence",
    "NUM": "MeasuredValueSequence",
    "UIDREF": "UID",
    "DATE": "Date",
    "TIME": "Time",
    "DATETIME": "DateTime",
    "PNAME": "PersonName",
    "CONTAINER": "ContinuityOfContent",
    "IMAGE": "ReferencedSOPSequence",
    "COMPOSITE": "ReferencedSOPSequence",
    "WAVEFORM": "ReferencedSOPSequence",
    "SCOORD": "GraphicData",
    "SCOORD3D": "GraphicData",
    "TCOORD": "TemporalRangeType",
}
"""The attribute with the value of each value type (PS3.3 C.17.3, C.18)."""

_NAMELESS: Final = ("CONTAINER", "IMAGE", "COMPOSITE", "WAVEFORM", "SCOORD", "SCOORD3D", "TCOORD")
_GRAPHICS: Final = ("POINT", "MULTIPOINT", "POLYLINE", "CIRCLE", "ELLIPSE")


def has_the_root_of_tid_1500(sr: Subject) -> Iterator[Problem]:
    """126000 > 126010 > 125007: the only path that OHIF reads."""
    if sr.root.value_type != "CONTAINER" or not sr.root.is_a(codes.IMAGING_MEASUREMENT_REPORT):
        yield error(
            "document",
            "its root is not a container (126000, DCM, Imaging Measurement Report): "
            "viewers list the document but draw nothing",
        )
    templates = items(sr.dataset, "ContentTemplateSequence")
    if "1500" not in [text(template, "TemplateIdentifier") for template in templates]:
        yield warning("document", "its root does not name its template, TID 1500")
    measurements = sr.root.below("CONTAINER", codes.IMAGING_MEASUREMENTS)
    if len(measurements) != 1:
        yield error(
            "document",
            "its root has no container (126010, DCM, Imaging Measurements): OHIF fails"
            if not measurements
            else "its root has more than one container of Imaging Measurements: one is read",
        )
    for container in measurements:
        if not container.children:
            yield error(sr.where(container), "Imaging Measurements is empty: highdicom fails")
    read = {group.node.place for group in sr.groups}
    for node in sr.root.walk():
        if node.is_a(codes.MEASUREMENT_GROUP) and node.place not in read:
            yield warning(
                sr.where(node), "a Measurement Group outside of Imaging Measurements: not drawn"
            )


def items_are_complete(sr: Subject) -> Iterator[Problem]:
    """Every content item has its type, relationship, name and value."""
    for node in sr.root.walk():
        if "ReferencedContentItemIdentifier" in node.dataset:
            continue  # refers to another item and has no content of its own
        for missing in _missing(node, is_root=node is sr.root):
            yield error(sr.where(node), f"{node.value_type} item without {missing}".lstrip())


def _missing(node: Node, *, is_root: bool) -> Iterator[str]:
    if node.value_type not in _VALUES:
        yield "a known ValueType"
        return
    if not is_root and not node.relation:
        yield "RelationshipType"
    if node.value_type not in _NAMELESS and not (node.name and node.name.meaning):
        yield "a complete concept name"
    keyword = _VALUES[node.value_type]
    if not values(node.dataset, keyword):
        yield keyword
    elif keyword == "ConceptCodeSequence":
        value = code(node.dataset, keyword)
        if value is None or not value.meaning:
            yield "a complete code as its value"
    elif keyword == "MeasuredValueSequence":
        for measured in items(node.dataset, keyword):
            if not numbers(measured, "NumericValue"):
                yield "a number"
            if code(measured, "MeasurementUnitsCodeSequence") is None:
                yield "a unit"
    elif keyword == "ReferencedSOPSequence":
        for reference in items(node.dataset, keyword):
            for part in ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID"):
                if not text(reference, part):
                    yield part


def groups_are_tracked(sr: Subject) -> Iterator[Problem]:
    """Every group has a tracking identifier and a unique tracking UID."""
    owners: dict[str, Group] = {}
    for group in sr.groups:
        if not group.identifier:
            yield error(group.where, "has no Tracking Identifier")
        nodes = group.node.below("UIDREF", codes.TRACKING_UID)
        uid = text(nodes[0].dataset, "UID") if nodes else ""
        if not uid:
            yield error(group.where, "has no Tracking Unique Identifier")
        elif owners.setdefault(uid, group) is not group:
            yield error(
                group.where,
                f"shares its Tracking Unique Identifier with group {owners[uid].number}: "
                "OHIF merges them",
            )


def groups_have_a_point(sr: Subject) -> Iterator[Problem]:
    """Every group has a point on one image, under its first NUM, where OHIF reads it."""
    for group in sr.groups:
        scoords = group.of_type("SCOORD")
        if not scoords:
            yield error(group.where, "has no SCOORD: OHIF shows no image for the whole document")
            continue
        for scoord in scoords:
            images = scoord.below("IMAGE")
            if [len(items(i.dataset, "ReferencedSOPSequence")) for i in images] != [1]:
                yield error(sr.where(scoord), "this SCOORD is not selected from exactly one IMAGE")
        measured = group.node.below("NUM")
        if not measured or not measured[0].below("SCOORD"):
            yield (error if group.restored else warning)(
                group.where, "its first NUM has no SCOORD, and OHIF restores only that"
            )


def groups_have_no_3d_points(sr: Subject) -> Iterator[Problem]:
    """OHIF does not draw SCOORD3D, and fails with the tracking identifier of an arrow."""
    for group in sr.groups:
        if group.of_type("SCOORD3D"):
            yield (error if group.restored else warning)(
                group.where, "has an SCOORD3D: not drawn by OHIF"
            )


def groups_are_restored(sr: Subject) -> Iterator[Problem]:
    """The tracking identifier is one that OHIF restores as a labelled arrow."""
    for group in sr.groups:
        if not group.restored:
            yield warning(
                group.where,
                f"its Tracking Identifier does not start with {VIEWER_TOOL} "
                "so that OHIF drops its label and its row",
            )


def groups_have_a_label(sr: Subject) -> Iterator[Problem]:
    """Every group has a Comment, the text that viewers draw beside the point."""
    for group in sr.groups:
        comments = group.node.below("TEXT", codes.COMMENT)
        if not any(text(comment.dataset, "TextValue") for comment in comments):
            yield warning(group.where, "has no Comment: no label is drawn beside its point")


def groups_name_their_algorithm(sr: Subject) -> Iterator[Problem]:
    """Algorithm name and version occur together (PS3.16 TID 4019)."""
    for group in sr.groups:
        named = group.node.below("TEXT", codes.ALGORITHM_NAME)
        versioned = group.node.below("TEXT", codes.ALGORITHM_VERSION)
        if len(named) != len(versioned):
            yield error(group.where, "does not have both Algorithm Name and Algorithm Version")


def points_are_valid(sr: Subject) -> Iterator[Problem]:
    """SCOORD coordinates are finite, non-negative pairs (PS3.3 C.18.6.1)."""
    for node in sr.root.walk():
        if node.value_type != "SCOORD":
            continue
        graphic, data = text(node.dataset, "GraphicType"), numbers(node.dataset, "GraphicData")
        if graphic not in _GRAPHICS:
            yield error(sr.where(node), "has an unknown GraphicType")
        if len(data) % 2 or (graphic == "POINT" and len(data) != 2):
            yield error(sr.where(node), "its GraphicData are not pairs of column and row")
        if not all(math.isfinite(number) for number in data):
            yield error(sr.where(node), "has a coordinate that is not finite")
        elif min(data, default=0) < 0:
            yield error(sr.where(node), "has a negative coordinate")
