"""The phantom: three series in memory, and their truth."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import (
    TARGETS,
    Condition,
    ImagePoint,
    ImageReference,
    Severity,
    Side,
    Target,
)
from worker.domain.geometry import Plane, Triple, Vector
from worker.domain.study import Role
from worker.phantom.anatomy import SEGMENT_OF, Anatomy, draw_anatomy
from worker.phantom.lesions import CLINICAL, Prevalence, complete, draw_severities, other_side
from worker.phantom.profiles import foramen_position, recess_position, sac_position
from worker.phantom.protocol import STANDARD, PlannedSeries, SliceCounts, draw_protocol
from worker.phantom.randomness import derived_uid
from worker.phantom.rendering import draw_scenes, render

SHOWN_ON = {
    Condition.SPINAL_CANAL_STENOSIS: Role.SAGITTAL_T2,
    Condition.NEURAL_FORAMINAL_NARROWING: Role.SAGITTAL_T1,
    Condition.SUBARTICULAR_STENOSIS: Role.AXIAL_T2,
}
"""The series on which the challenge marks the point of each condition."""


@dataclass(frozen=True, eq=False)
class PhantomSeries:
    """One series; `pixels` has shape (slices, rows, columns), in instance order."""

    acquisition: PlannedSeries
    series_instance_uid: str
    sop_instance_uids: tuple[str, ...]
    pixels: NDArray[np.uint16]

    @property
    def role(self) -> Role:
        """The role of the series."""
        return self.acquisition.role

    @property
    def planes(self) -> tuple[Plane, ...]:
        """The plane of each slice."""
        return self.acquisition.planes

    def image(self, index: int) -> ImageReference:
        """The reference of one slice."""
        return ImageReference(self.series_instance_uid, self.sop_instance_uids[index])


@dataclass(frozen=True)
class TruthPoint:
    """The position of one target: the pixel, and its patient position (LPS) on that slice.

    `index` counts the series' slices from 0; the instance number is one more.
    """

    target: Target
    image_point: ImagePoint
    index: int
    patient_mm: Triple


@dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic study: three series, and the severity and point of every target."""

    seed: int
    mirrored: bool
    study_instance_uid: str
    frame_of_reference_uid: str
    series: tuple[PhantomSeries, ...]
    severities: dict[Target, Severity]
    points: dict[Target, TruthPoint]

    def of(self, role: Role) -> PhantomSeries:
        """The series of one role."""
        return next(series for series in self.series if series.role is role)


def make_phantom(
    seed: int,
    lesions: Mapping[Target, Severity] | None = None,
    *,
    mirrored: bool = False,
    slices: SliceCounts = STANDARD,
    prevalence: Prevalence = CLINICAL,
) -> Phantom:
    """Generate a study from a seed: the same arguments give identical pixels.

    Without `lesions` the severities are drawn at `prevalence`; otherwise they are as given,
    and every other target is normal. `mirrored` gives the mirror image of the patient,
    acquired on the mirrored planes: pixels and truth swap sides exactly.
    """
    severities = draw_severities(seed, prevalence) if lesions is None else complete(lesions)
    anatomy = draw_anatomy(seed)
    scenes = draw_scenes(anatomy, severities)
    identity = (seed, _fingerprint(severities), str(slices), "mirrored" if mirrored else "as is")
    series = []
    for planned in draw_protocol(anatomy, slices):
        scene = scenes[planned.role]
        pixels = np.stack(
            [render(scene, p, planned.slice_thickness_mm, i) for i, p in enumerate(planned.planes)]
        )
        acquisition = planned
        if mirrored:
            acquisition, pixels = _mirror(planned, pixels)
        series.append(
            PhantomSeries(
                acquisition,
                derived_uid("series", *identity, planned.role),
                tuple(derived_uid("image", *identity, planned.role, i) for i in range(len(pixels))),
                pixels,
            )
        )
    places = target_places(anatomy)
    if mirrored:
        severities = {t: severities[other_side(t)] for t in TARGETS}
        places = {other_side(t): place * (-1, 1, 1) for t, place in places.items()}
    by_role = {s.role: s for s in series}
    return Phantom(
        seed=seed,
        mirrored=mirrored,
        study_instance_uid=derived_uid("study", *identity),
        frame_of_reference_uid=derived_uid("frame of reference", *identity),
        series=tuple(series),
        severities=severities,
        points={t: _mark(t, places[t], by_role[SHOWN_ON[t.condition]]) for t in TARGETS},
    )


def target_places(anatomy: Anatomy) -> dict[Target, Vector]:
    """The patient position (LPS, mm) of each target, independent of the slices."""
    rule = {
        Condition.SPINAL_CANAL_STENOSIS: sac_position,
        Condition.NEURAL_FORAMINAL_NARROWING: foramen_position,
        Condition.SUBARTICULAR_STENOSIS: recess_position,
    }
    places = {}
    for target in TARGETS:
        u, v, s = rule[target.condition](anatomy, SEGMENT_OF[target.level])
        places[target] = anatomy.to_patient(-u if target.side is Side.RIGHT else u, v, s)
    return places


def _mark(target: Target, place: Vector, series: PhantomSeries) -> TruthPoint:
    index = int(np.argmin([abs(plane.distance_mm(place)) for plane in series.planes]))
    plane = series.planes[index]
    point = ImagePoint(series.image(index), *plane.to_px(place))
    x, y, z = (float(value) for value in plane.to_mm(point.column, point.row))
    return TruthPoint(target, point, index, (x, y, z))


def _mirror(
    planned: PlannedSeries, pixels: NDArray[np.uint16]
) -> tuple[PlannedSeries, NDArray[np.uint16]]:
    # Negating x turns an axial image's rows to run from left to right of the patient, so
    # its columns are reversed to keep the usual display; a sagittal one keeps its pixels.
    planes = []
    for plane in planned.planes:
        reflected = replace(
            plane,
            position_mm=_negate_x(plane.position_mm),
            along_columns=_negate_x(plane.along_columns),
            along_rows=_negate_x(plane.along_rows),
        )
        if planned.role is Role.AXIAL_T2:
            corner = reflected.to_mm(plane.columns - 1, 0)
            x, y, z = (round(float(value), 4) for value in corner)
            a, b, c = (-value + 0.0 for value in reflected.along_columns)
            reflected = replace(reflected, position_mm=(x, y, z), along_columns=(a, b, c))
        planes.append(reflected)
    if planned.role is Role.AXIAL_T2:
        return replace(planned, planes=tuple(planes)), pixels[:, :, ::-1].copy()
    # The slices are numbered from the same side of the patient as before.
    return replace(planned, planes=tuple(planes[::-1])), pixels[::-1].copy()


def _negate_x(triple: Triple) -> Triple:
    return (0.0 - triple[0], triple[1], triple[2])


def _fingerprint(severities: Mapping[Target, Severity]) -> str:
    grades = "".join(str(severities[t].rank) for t in TARGETS)
    return hashlib.sha256(grades.encode()).hexdigest()[:16]
