"""A graded study made in memory: small volumes with known planes, no networks, no files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from dicom_sr.findings import (
    TARGETS,
    BundleIdentity,
    Condition,
    Finding,
    Graded,
    ImagePoint,
    ImageReference,
    Level,
    NotAssessed,
    NotAssessedReason,
    Probabilities,
    Report,
    Target,
)
from worker.domain.geometry import Plane
from worker.domain.graded_study import GradedStudy
from worker.domain.study import (
    Acquisition,
    Evidence,
    Repair,
    RepairKind,
    Role,
    RoutedStudy,
    Routing,
    Series,
    SliceHeader,
    Study,
)
from worker.domain.volume import Volume, Volumes

STUDY = "1.2.3"
SPACING = {Role.SAGITTAL_T1: (0.8, 0.8), Role.SAGITTAL_T2: (0.5, 1.0), Role.AXIAL_T2: (0.6, 0.6)}
"""(row spacing, column spacing) in mm: the sagittal T2 has pixels twice as wide as high."""

SHAPE = {Role.SAGITTAL_T1: (200, 180), Role.SAGITTAL_T2: (320, 160), Role.AXIAL_T2: (180, 200)}
SHOWN_ON = {
    Condition.SPINAL_CANAL_STENOSIS: Role.SAGITTAL_T2,
    Condition.NEURAL_FORAMINAL_NARROWING: Role.SAGITTAL_T1,
    Condition.SUBARTICULAR_STENOSIS: Role.AXIAL_T2,
}


def plane(role: Role, index: int) -> Plane:
    """Sagittal slices from right to left, axial ones from foot to head, about the origin."""
    rows, columns = SHAPE[role]
    row_spacing, column_spacing = SPACING[role]
    down, across = rows * row_spacing / 2, columns * column_spacing / 2
    if role is Role.AXIAL_T2:
        along = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
        position = (-across, -down, -80.0 + 4.0 * index)
    else:
        along = (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)
        position = (20.0 - 4.0 * index, -across, down)
    return Plane(position, *along, row_spacing, column_spacing, rows, columns)


def volume(role: Role, count: int) -> Volume:
    """A dark volume with a grey ramp, so that windowing has something to do."""
    series = f"{STUDY}.{list(Role).index(role) + 1}"
    headers = tuple(
        SliceHeader(f"{n}", ImageReference(series, f"{series}.{n}"), n + 1, plane(role, n))
        for n in range(count)
    )
    # Slices are handed over along their normal, which for these sagittal planes is -x.
    headers = tuple(sorted(headers, key=lambda h: h.plane.offset_mm))
    rows, columns = SHAPE[role]
    ramp = np.linspace(0, 900, columns, dtype=np.float32)
    pixels = np.broadcast_to(ramp, (count, rows, columns)).copy()
    return Volume(role, pixels, headers)


@pytest.fixture
def volumes() -> Volumes:
    """Three volumes of one study."""
    return Volumes(
        sagittal_t1=(volume(Role.SAGITTAL_T1, 11),),
        sagittal_t2=(volume(Role.SAGITTAL_T2, 11),),
        axial_t2=(volume(Role.AXIAL_T2, 41),),
    )


def graded(
    target: Target, volumes: Volumes, column: float | None = None, row: float | None = None
) -> Graded:
    """A graded target; the level decides the height, the side the slice."""
    step = list(Level).index(target.level)
    shown = volumes.of(SHOWN_ON[target.condition])[0]
    axial = volumes.axial_t2[0]
    on_axial = axial.image(8 + 5 * step)
    severe = (TARGETS.index(target) * 37 % 100) / 100
    milder = (1 - severe) * 0.8, (1 - severe) * 0.2
    normal, moderate = milder if TARGETS.index(target) % 3 else milder[::-1]
    if target.condition is Condition.SUBARTICULAR_STENOSIS:
        place = (130.0 if target.side == "left" else 60.0, 90.0)
        image = on_axial
    else:
        place = (60.0 + step, 30.0 + 25.0 * step)
        index = {None: 5, "left": 1, "right": 9}[target.side]
        image = shown.image(index)
    place = (place[0] if column is None else column, place[1] if row is None else row)
    return Graded(
        target,
        Probabilities(normal, moderate, severe),
        0.5,
        ImagePoint(image, *place),
        image if target.condition is Condition.NEURAL_FORAMINAL_NARROWING else on_axial,
    )


@pytest.fixture
def make(volumes: Volumes) -> Callable[..., GradedStudy]:
    """Make a graded study of which some findings are replaced."""

    def graded_study(
        replaced: Mapping[Target, Finding] | None = None,
        volumes: Volumes = volumes,
        descriptions: Mapping[Role, str] | None = None,
    ) -> GradedStudy:
        findings: dict[Target, Finding] = {t: graded(t, volumes) for t in TARGETS}
        findings |= replaced or {}
        names = {role: f"{role} tse" for role in Role} | dict(descriptions or {})
        series = {
            v.role: Series(v.series_instance_uid, Acquisition(), v.slices) for v in volumes.all
        }
        decisions = [
            Routing(
                one.series_instance_uid,
                names[role],
                role,
                f"physics say {role}",
                evidence=(Evidence("echo_and_repetition", "T2", "by <TE> 100 ms"),),
            )
            for role, one in series.items()
        ]
        rejected = Routing(f"{STUDY}.9", "localizer", None, "three planes in one series")
        study = Study(STUDY, tuple(series.values()))
        return GradedStudy(
            report=Report(
                STUDY,
                BundleIdentity("default", "0.1.0", "ab" * 32, "2.25.7"),
                (*findings.values(),),
            ),
            routed=RoutedStudy(study, {r: (s,) for r, s in series.items()}, (*decisions, rejected)),
            volumes=volumes,
            repairs=(Repair(RepairKind.MODALITY, f"{STUDY}.1", 11, "as the other series"),),
            timings_ms={"headers": 12.345, "grade": 987.0},
        )

    return graded_study


@pytest.fixture
def graded_study(make: Callable[..., GradedStudy]) -> GradedStudy:
    """All targets graded but one."""
    target = Target(Condition.SPINAL_CANAL_STENOSIS, Level.L1_L2)
    return make({target: NotAssessed(target, NotAssessedReason.NO_AXIAL_SLICE)})
