"""Plans three series: their planes, timing and names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from dicom_sr.findings import Level
from worker.domain.geometry import Plane, Triple, Vector
from worker.domain.study import Role
from worker.phantom.anatomy import SEGMENT_OF, Anatomy
from worker.phantom.profiles import foramen_position
from worker.phantom.randomness import stream


@dataclass(frozen=True)
class SliceCounts:
    """The number of slices of each series; at least 7, 5 and 10, to show every target.

    Raises ValueError below that.
    """

    sagittal_t1: int
    sagittal_t2: int
    axial_t2: int

    def __post_init__(self) -> None:
        if self.sagittal_t1 < 7 or self.sagittal_t2 < 5 or self.axial_t2 < 10:
            raise ValueError("a gradable phantom needs at least 7, 5 and 10 slices")


STANDARD: Final = SliceCounts(17, 17, 62)
"""About a hundred slices, as in clinical studies."""
SMALL: Final = SliceCounts(9, 7, 15)
"""Thirty-one slices that still show every target."""


@dataclass(frozen=True)
class PlannedSeries:
    """One series as planned; `planes` in the order of their instance numbers."""

    role: Role
    number: int
    description: str
    echo_time_ms: float
    repetition_time_ms: float
    echo_train_length: int
    flip_angle_deg: float
    bandwidth_hz: float
    slice_thickness_mm: float
    slice_spacing_mm: float
    planes: tuple[Plane, ...]


def draw_protocol(anatomy: Anatomy, counts: SliceCounts) -> tuple[PlannedSeries, ...]:
    """Plan sagittal T1, sagittal T2 and axial T2 on this anatomy as a technician would."""
    rng = stream(anatomy.seed, "stacks")
    lean = np.array([0.0, _lean(anatomy)]) + rng.normal(0, [0.02, 0.006])
    middle = _middle(anatomy) + rng.normal(0, [1.2, 5, 6])
    return (
        _sagittal(anatomy, Role.SAGITTAL_T1, counts.sagittal_t1, middle, lean),
        _sagittal(anatomy, Role.SAGITTAL_T2, counts.sagittal_t2, middle, lean),
        _axial(anatomy, counts.axial_t2),
    )


def _middle(anatomy: Anatomy) -> Vector:
    lumbar = [anatomy.to_patient(0, 0, float(anatomy.disc_s_mm[i])) for i in SEGMENT_OF.values()]
    middle: Vector = np.mean(lumbar, axis=0) + np.array([0, -22, 0])
    return middle


def _lean(anatomy: Anatomy) -> float:
    # dx/dz of the lumbar spine: the sagittal stack is planned along it.
    s = [float(anatomy.disc_s_mm[i]) for i in SEGMENT_OF.values()]
    x, _, z = np.array([anatomy.to_patient(0, 0, place) for place in s]).T
    return float(np.polyfit(z, x, 1)[0])


def _reach(anatomy: Anatomy, middle: Vector, normal: Vector) -> float:
    # The distance to either side that covers every foramen.
    places = [foramen_position(anatomy, segment) for segment in SEGMENT_OF.values()]
    foramina = [anatomy.to_patient(side * u, v, s) for u, v, s in places for side in (-1, 1)]
    return float(max(abs((place - middle) @ normal) for place in foramina))


def _sagittal(
    anatomy: Anatomy, role: Role, count: int, middle: Vector, lean: Vector
) -> PlannedSeries:
    rng = stream(anatomy.seed, "protocol", role)
    normal = np.array([-1.0, *lean])
    normal /= np.linalg.norm(normal)
    down = np.array([0, 0, -1.0])
    down -= normal * (down @ normal)
    down /= np.linalg.norm(down)
    across = np.cross(down, normal)
    spacing = max(float(rng.uniform(4.0, 4.5)), 2 * _reach(anatomy, middle, normal) / (count - 1))
    if role is Role.SAGITTAL_T2 and count < SMALL.sagittal_t1:
        spacing = 4.4  # few slices are placed near the canal in the middle
    matrix, field = int(rng.choice([288, 320, 320, 384])), float(rng.uniform(250, 285))
    pixel = field / matrix
    from_right = rng.random() < 0.8
    shift = float(rng.uniform(-0.3, 0.3)) * min(spacing, 4.5)
    # Slices run along -normal, which is +x: from the patient's right to the left.
    offsets = (np.arange(count) - (count - 1) / 2) * spacing + shift
    order = offsets if from_right else offsets[::-1]
    planes = tuple(_plane(middle - normal * o, across, down, matrix, pixel) for o in order)
    t1 = role is Role.SAGITTAL_T1
    return PlannedSeries(
        role=role,
        number=3 if t1 else 2,
        description=f"{'t1' if t1 else 't2'}_tse_sag_{matrix}",
        echo_time_ms=round(float(rng.uniform(8, 14) if t1 else rng.uniform(84, 112)), 1),
        repetition_time_ms=round(float(rng.uniform(480, 720) if t1 else rng.uniform(2800, 4200))),
        echo_train_length=int(rng.integers(3, 6) if t1 else rng.integers(14, 22)),
        flip_angle_deg=150.0,
        bandwidth_hz=round(float(rng.uniform(180, 260))),
        slice_thickness_mm=round(min(0.9 * spacing, 4.4), 2),
        slice_spacing_mm=round(spacing, 4),
        planes=planes,
    )


def _axial(anatomy: Anatomy, count: int) -> PlannedSeries:
    rng = stream(anatomy.seed, "protocol", Role.AXIAL_T2)
    spacing = float(rng.uniform(3.6, 4.4))
    matrix, field = int(rng.choice([256, 320, 320, 384])), float(rng.uniform(160, 210))
    block = count >= 30 and rng.random() < 0.5
    groups = _block_and_last(anatomy, count) if block else _one_group_a_disc(anatomy, count, rng)
    planes = [
        plane
        for group in groups
        for plane in _axial_group(anatomy, group, spacing, matrix, field / matrix, rng)
    ]
    return PlannedSeries(
        role=Role.AXIAL_T2,
        number=4,
        description=f"t2_tse_tra_{'msma_' if not block else ''}{matrix}",
        echo_time_ms=round(float(rng.uniform(90, 115)), 1),
        repetition_time_ms=round(float(rng.uniform(3200, 5200))),
        echo_train_length=int(rng.integers(14, 22)),
        flip_angle_deg=150.0,
        bandwidth_hz=round(float(rng.uniform(160, 240))),
        slice_thickness_mm=round(0.9 * spacing, 2),
        slice_spacing_mm=round(spacing, 4),
        planes=tuple(planes),
    )


@dataclass(frozen=True)
class _Group:
    s_mm: float
    tilt_rad: float
    slices: int
    span_mm: float = 0.0


def _one_group_a_disc(anatomy: Anatomy, count: int, rng: np.random.Generator) -> tuple[_Group, ...]:
    sizes = [count // 5 + (i >= 5 - count % 5) for i in range(5)]
    groups = []
    for level, size in zip(Level, sizes, strict=True):
        s = float(anatomy.disc_s_mm[SEGMENT_OF[level]])
        tilt = anatomy.tilt_at(s) + np.deg2rad(rng.normal(0, 2))
        groups.append(_Group(s + float(rng.uniform(-1.4, 1.4)), float(tilt), size))
    return tuple(groups)


def _block_and_last(anatomy: Anatomy, count: int) -> tuple[_Group, ...]:
    last = max(6, round(0.22 * count))
    s = {level: float(anatomy.disc_s_mm[segment]) for level, segment in SEGMENT_OF.items()}
    tilts = [anatomy.tilt_at(s[level]) for level in (Level.L1_L2, Level.L2_L3, Level.L3_L4)]
    middle = (s[Level.L1_L2] + s[Level.L4_L5]) / 2
    return (
        _Group(middle, float(np.mean(tilts)), count - last, s[Level.L1_L2] - s[Level.L4_L5] + 20),
        _Group(s[Level.L5_S1], anatomy.tilt_at(s[Level.L5_S1]), last),
    )


def _axial_group(
    anatomy: Anatomy,
    group: _Group,
    spacing: float,
    matrix: int,
    pixel: float,
    rng: np.random.Generator,
) -> list[Plane]:
    tilt = float(np.clip(group.tilt_rad, -0.6, 0.66))
    turn, roll = rng.normal(0, 0.015, 2)
    normal = np.array([roll, -np.sin(tilt), np.cos(tilt)])
    normal /= np.linalg.norm(normal)
    across = np.array([1.0, turn, 0])
    across -= normal * (across @ normal)
    across /= np.linalg.norm(across)
    down = np.cross(normal, across)
    spacing = max(spacing, group.span_mm / max(group.slices - 1, 1))
    centre = anatomy.to_patient(0, 0, group.s_mm) + across * rng.normal(0, 2)
    centre = centre + down * rng.uniform(-14, 6)
    offsets = ((group.slices - 1) / 2 - np.arange(group.slices)) * spacing  # from the head down
    return [_plane(centre + normal * o, across, down, matrix, pixel) for o in offsets]


def _plane(centre: Vector, across: Vector, down: Vector, matrix: int, pixel: float) -> Plane:
    corner = centre - (across + down) * pixel * (matrix - 1) / 2
    # Decimal strings have 16 characters: the planned values are those written.
    return Plane(
        position_mm=_triple(corner, 4),
        along_columns=_triple(across, 9),
        along_rows=_triple(down, 9),
        row_spacing_mm=round(pixel, 6),
        column_spacing_mm=round(pixel, 6),
        rows=matrix,
        columns=matrix,
    )


def _triple(vector: Vector, digits: int) -> Triple:
    x, y, z = (round(float(value), digits) + 0.0 for value in vector)
    return x, y, z
