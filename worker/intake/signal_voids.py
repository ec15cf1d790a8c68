"""Flags large signal voids beside the graded spine: metal, or what an operation left.

A flag, never a refusal: in the research data no operated spine is marked, so that neither its
sensitivity nor its specificity can be measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from dicom_sr.findings import Finding, Graded
from worker.domain.geometry import Plane, Vector
from worker.domain.study import RoutedStudy
from worker.domain.volume import Volume, Volumes

LEAST_MM2: Final = 100.0
"""The area of a void that is worth a flag. 4 of 120 research T1 series have a larger one, and so
has the one study here whose spine looks operated (151 mm2); some phantoms have one as well."""
DARK: Final = 0.04
"""The intensity of a void, as a share of the slice's 95th percentile."""

_TO_FRONT_MM: Final = 40.0
_TO_BACK_MM: Final = 45.0
_MOSTLY_DARK: Final = 0.2
_LEAST_POINTS: Final = 4


def with_void_flags(
    routed: RoutedStudy, volumes: Volumes, findings: Sequence[Finding]
) -> RoutedStudy:
    """The study with a flag at each sagittal T1 series that shows a large signal void."""
    graded = [finding for finding in findings if isinstance(finding, Graded)]
    flags: dict[str, str] = {}
    for volume in volumes.sagittal_t1:
        images = {header.image: header.plane for header in volume.slices}
        points = [
            images[one.point.image].to_mm(one.point.column, one.point.row)
            for one in graded
            if one.point.image in images
        ]
        area_mm2 = largest_void_mm2(volume, points) if len(points) >= _LEAST_POINTS else 0.0
        if area_mm2 >= LEAST_MM2:
            flags[volume.series_instance_uid] = (
                f"a signal void of {area_mm2:.0f} mm2 beside the spine: "
                "metal or an earlier operation is possible"
            )
    return replace(
        routed,
        decisions=tuple(
            replace(one, flags=(*one.flags, flags[one.series_instance_uid]))
            if one.role is not None and one.series_instance_uid in flags
            else one
            for one in routed.decisions
        ),
    )


def largest_void_mm2(volume: Volume, spine_mm: Sequence[Vector]) -> float:
    """The area of the largest void on any slice of a sagittal volume, within reach of the spine.

    `spine_mm` holds points along the spine, each of shape (3,). Slices that are mostly dark there
    lie beside the body or have an unusual contrast, and do not count.
    """
    near = _near_the_spine(volume.planes[0], spine_mm)
    if not near.any():
        return 0.0
    rows, columns = (slice(found.min(), found.max() + 1) for found in np.nonzero(near))
    near = near[rows, columns]
    largest = 0
    for pixels in volume.pixels:
        bright = np.percentile(pixels[::4, ::4], 95)
        dark = (pixels[rows, columns] < DARK * bright) & near
        if dark.sum() > _MOSTLY_DARK * near.sum():
            continue
        regions, count = label(dark)
        if count:
            largest = max(largest, int(np.bincount(regions.ravel())[1:].max()))
    plane = volume.planes[0]
    return largest * plane.row_spacing_mm * plane.column_spacing_mm


def _near_the_spine(plane: Plane, spine_mm: Sequence[Vector]) -> NDArray[np.bool_]:
    """Which pixels of a sagittal slice lie beside the points, shape (rows, columns)."""
    rows, columns = np.mgrid[: plane.rows, : plane.columns]
    along = np.array(plane.along_columns) * plane.column_spacing_mm
    down = np.array(plane.along_rows) * plane.row_spacing_mm
    _, back_mm, height_mm = (
        plane.position_mm[axis] + along[axis] * columns + down[axis] * rows for axis in range(3)
    )
    spine = np.array(sorted(spine_mm, key=lambda point: float(point[2])))
    behind_mm = back_mm - np.interp(height_mm, spine[:, 2], spine[:, 1])
    inside = (height_mm >= spine[0, 2]) & (height_mm <= spine[-1, 2])
    near: NDArray[np.bool_] = inside & (behind_mm >= -_TO_FRONT_MM) & (behind_mm <= _TO_BACK_MM)
    return near
