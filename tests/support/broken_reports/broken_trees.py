"""Content trees that break a rule about their items or groups."""

from __future__ import annotations

import math

from dicom_sr.checking import tree

from .breaking import (
    CERTAINTY,
    COMMENT,
    FIRST,
    IDENTIFIER,
    IMAGE,
    MEASUREMENTS,
    MODERATE,
    POINT,
    TRACKING,
    Case,
    at,
    changed,
    drop,
    group,
    group_elsewhere,
    group_without,
    move_point,
    other_system,
    point,
    put_in,
    reference,
    second_image,
    shared_uid,
    three_dimensional,
    twice,
    without,
)

CERTAIN = f"{FIRST}, item 1.11.1.9"
"""The first NUM of the first group, and what hangs under it."""

CASES = {
    "another root": Case(
        tree.has_the_root_of_tid_1500,
        lambda sr: changed(sr.ConceptNameCodeSequence[0], CodeValue="1"),
        *("error", "document", "126000"),
    ),
    "no template": Case(
        tree.has_the_root_of_tid_1500,
        without("ContentTemplateSequence"),
        *("warning", "document", "TID 1500"),
    ),
    "no measurements": Case(
        tree.has_the_root_of_tid_1500,
        lambda sr: drop(sr, MEASUREMENTS),
        *("error", "document", "126010"),
    ),
    "measurements twice": Case(
        tree.has_the_root_of_tid_1500, twice, "error", "document", "more than one container"
    ),
    "empty measurements": Case(
        tree.has_the_root_of_tid_1500,
        lambda sr: at(sr, MEASUREMENTS).pop("ContentSequence"),
        *("error", "item 1.11", "is empty"),
    ),
    "group elsewhere": Case(
        tree.has_the_root_of_tid_1500, group_elsewhere, "warning", "item 1.13", "not drawn"
    ),
    "no text": Case(
        tree.items_are_complete,
        put_in(COMMENT, TextValue=""),
        *("error", FIRST, "TEXT item without TextValue"),
    ),
    "no relationship": Case(
        tree.items_are_complete,
        put_in(COMMENT, RelationshipType=None),
        *("error", FIRST, "without RelationshipType"),
    ),
    "no name": Case(
        tree.items_are_complete,
        lambda sr: group(sr, COMMENT).pop("ConceptNameCodeSequence"),
        *("error", FIRST, "without a complete concept name"),
    ),
    "unknown value type": Case(
        tree.items_are_complete,
        put_in(COMMENT, ValueType="POEM"),
        *("error", FIRST, "without a known ValueType"),
    ),
    "no number": Case(
        tree.items_are_complete,
        lambda sr: group(sr, MODERATE).MeasuredValueSequence[0].pop("NumericValue"),
        *("error", FIRST, "NUM item without a number"),
    ),
    "no unit": Case(
        tree.items_are_complete,
        lambda sr: group(sr, MODERATE).MeasuredValueSequence[0].pop("MeasurementUnitsCodeSequence"),
        *("error", FIRST, "NUM item without a unit"),
    ),
    "code without meaning": Case(
        tree.items_are_complete,
        lambda sr: group(sr, "121071").ConceptCodeSequence[0].pop("CodeMeaning"),
        *("error", FIRST, "CODE item without a complete code"),
    ),
    "image without class": Case(
        tree.items_are_complete,
        lambda sr: reference(sr).pop("ReferencedSOPClassUID"),
        *("error", FIRST, "IMAGE item without ReferencedSOPClassUID"),
    ),
    "no tracking identifier": Case(
        tree.groups_are_tracked,
        group_without(IDENTIFIER),
        *("error", "group 1", "no Tracking Identifier"),
    ),
    "no tracking UID": Case(
        tree.groups_are_tracked,
        group_without(TRACKING),
        *("error", FIRST, "no Tracking Unique Identifier"),
    ),
    "shared tracking UID": Case(
        tree.groups_are_tracked, shared_uid, "error", "group 2", "with group 1: OHIF merges"
    ),
    "no algorithm version": Case(
        tree.groups_name_their_algorithm,
        group_without("111003"),
        *("error", FIRST, "Algorithm Version"),
    ),
    "no geometry": Case(
        tree.groups_have_a_point,
        group_without(CERTAINTY, POINT),
        *("error", FIRST, "no SCOORD: OHIF shows no image"),
    ),
    "point on no image": Case(
        tree.groups_have_a_point,
        group_without(CERTAINTY, POINT, IMAGE),
        *("error", CERTAIN, "exactly one IMAGE"),
    ),
    "point on two images": Case(
        tree.groups_have_a_point, second_image, "error", CERTAIN, "exactly one IMAGE"
    ),
    "point in the group itself": Case(
        tree.groups_have_a_point, move_point(), "error", FIRST, "first NUM has no SCOORD"
    ),
    "point under a later number": Case(
        tree.groups_have_a_point, move_point(MODERATE), "error", FIRST, "first NUM has no SCOORD"
    ),
    "point under a later number of another system": Case(
        tree.groups_have_a_point,
        lambda sr: (other_system(sr), move_point(MODERATE)(sr)),
        *("warning", "group 1 (Lesion 1)", "first NUM has no SCOORD"),
    ),
    "point in space": Case(
        tree.groups_have_no_3d_points, three_dimensional, "error", FIRST, "SCOORD3D"
    ),
    "point in space of another system": Case(
        tree.groups_have_no_3d_points,
        lambda sr: (other_system(sr), three_dimensional(sr)),
        *("warning", "group 1 (Lesion 1)", "SCOORD3D"),
    ),
    "no arrow": Case(
        tree.groups_are_restored, other_system, "warning", "group 1 (Lesion 1)", "ArrowAnnotate"
    ),
    "no label": Case(
        tree.groups_have_a_label, group_without(COMMENT), "warning", FIRST, "no Comment"
    ),
    "unknown graphic": Case(
        tree.points_are_valid,
        lambda sr: changed(point(sr), GraphicType="STAR"),
        *("error", CERTAIN, "GraphicType"),
    ),
    "half a point": Case(
        tree.points_are_valid,
        lambda sr: changed(point(sr), GraphicData=[1.0, 2.0, 3.0]),
        *("error", CERTAIN, "pairs"),
    ),
    "a point of two": Case(
        tree.points_are_valid,
        lambda sr: changed(point(sr), GraphicData=[1.0, 2.0, 3.0, 4.0]),
        *("error", CERTAIN, "pairs"),
    ),
    "no finite point": Case(
        tree.points_are_valid,
        lambda sr: changed(point(sr), GraphicData=[1.0, math.nan]),
        *("error", CERTAIN, "not finite"),
    ),
    "negative point": Case(
        tree.points_are_valid,
        lambda sr: changed(point(sr), GraphicData=[1.0, -0.5]),
        *("error", CERTAIN, "negative"),
    ),
}
