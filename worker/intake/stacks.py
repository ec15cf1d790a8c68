"""Groups slices into stacks of one orientation and shape, ordered along the common normal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from worker.domain.geometry import Plane
from worker.domain.study import SliceHeader

MAX_ANGLE_DEG: Final = 3.0
"""The largest angle between two slices of one stack."""

SCOUT_ANGLE_DEG: Final = 60.0
"""A larger angle between slices means a localiser, whose planes are 90 degrees apart.

The blocks of one axial series follow the lordosis: those through L1/L2 and L5/S1 may differ
by 50 degrees.
"""

SAME_PLACE_MM: Final = 0.05
"""Slices whose origins are closer than this have the same position."""

Stack = tuple[SliceHeader, ...]


def in_one_plane(slices: Sequence[SliceHeader]) -> tuple[SliceHeader, ...]:
    """The slices of a series, all assigned to the anatomical plane of the majority.

    A block angled by more than 45 degrees is closest to another plane than its series, but
    is displayed like the rest. The slices of a localiser are left as they are.
    """
    planes = Counter(header.plane.orientation for header in slices)
    if len(planes) < 2 or _several_directions([header.plane for header in slices]):
        return tuple(slices)
    # A tie goes to the later name, which is never axial: a doubtful series is not graded.
    plane = max(planes, key=lambda one: (planes[one], one))
    return tuple(
        header
        if header.plane.orientation is plane
        else replace(header, plane=replace(header.plane, seen_as=plane))
        for header in slices
    )


def _several_directions(planes: Sequence[Plane]) -> bool:
    """Whether two slices differ by more than about `SCOUT_ANGLE_DEG`."""
    # Only distinct directions, rounded: all pairs of thousands of slices take too much memory.
    normals = np.array([plane.normal for plane in planes])
    _, first = np.unique(normals.round(1), axis=0, return_index=True)
    cosines = np.abs(normals[first] @ normals[first].T)
    return bool(cosines.min() < math.cos(math.radians(SCOUT_ANGLE_DEG)))


def stacks(slices: Sequence[SliceHeader]) -> tuple[tuple[Stack, ...], tuple[SliceHeader, ...]]:
    """Group slices into stacks, largest first; also return those dropped as duplicates.

    One axial series often contains one stack for each disc. Slices of one stack agree in shape,
    spacing and, within `MAX_ANGLE_DEG`, in the direction of columns and of rows. Of slices
    at one position the one with the lowest SOP Instance UID and frame stays. The result does
    not depend on the order of the input.
    """
    groups: list[list[SliceHeader]] = []
    for header in sorted(slices, key=_identity):
        group = next((g for g in groups if _fits(header.plane, g[0].plane)), None)
        if group is None:
            groups.append([header])
        else:
            group.append(header)
    found: list[Stack] = []
    dropped: list[SliceHeader] = []
    for group in groups:
        kept, repeated = _without_repeats(group)
        dropped += repeated
        found += _ordered(kept)
    found.sort(key=lambda stack: (-len(stack), _identity(stack[0])))
    return tuple(found), tuple(dropped)


def _identity(header: SliceHeader) -> tuple[str, int]:
    return header.image.sop_instance_uid, header.image.frame or 0


def _fits(one: Plane, other: Plane) -> bool:
    same_grid = (one.rows, one.columns) == (other.rows, other.columns) and np.allclose(
        (one.row_spacing_mm, one.column_spacing_mm),
        (other.row_spacing_mm, other.column_spacing_mm),
        rtol=1e-3,
    )
    return same_grid and all(
        _angle_deg(a, b) <= MAX_ANGLE_DEG
        for a, b in (
            (one.along_columns, other.along_columns),
            (one.along_rows, other.along_rows),
        )
    )


def _angle_deg(one: Sequence[float], other: Sequence[float]) -> float:
    return math.degrees(
        math.atan2(float(np.linalg.norm(np.cross(one, other))), float(np.dot(one, other)))
    )


def _without_repeats(
    group: Sequence[SliceHeader],
) -> tuple[list[SliceHeader], list[SliceHeader]]:
    kept: list[SliceHeader] = []
    repeated: list[SliceHeader] = []
    for header in group:
        places = np.array([k.plane.position_mm for k in kept]).reshape(-1, 3)
        offsets = np.linalg.norm(places - np.array(header.plane.position_mm), axis=1)
        (repeated if (offsets < SAME_PLACE_MM).any() else kept).append(header)
    return kept, repeated


def _ordered(group: Sequence[SliceHeader]) -> list[Stack]:
    """The group along its normal; as several stacks where no single normal orders it.

    `Volume` orders by the normal of its first slice. Slices that differ by a degree have
    normals that differ too, so the first slice must come first by its own normal.
    """
    for normal in [header.plane.normal for header in group]:
        ordered = _along(group, normal)
        if ordered == _along(group, ordered[0].plane.normal):
            return [tuple(ordered)]
    first = group[0].plane.normal
    alike = [h for h in group if np.array_equal(h.plane.normal, first)]
    rest = [h for h in group if not np.array_equal(h.plane.normal, first)]
    return [tuple(_along(alike, first)), *(_ordered(rest) if rest else ())]


def _along(group: Sequence[SliceHeader], normal: np.ndarray) -> list[SliceHeader]:
    return sorted(
        group, key=lambda h: (float(normal @ np.array(h.plane.position_mm)), _identity(h))
    )
