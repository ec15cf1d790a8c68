"""Builds a `Study` from stored objects: series, slices with their planes, acquisitions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from pydicom import Dataset

from dicom_sr.attributes import functional_group, integer, text, values, vector
from dicom_sr.findings import ImageReference
from dicom_sr.uids import printable_uid
from worker.domain.geometry import Plane
from worker.domain.study import (
    Instance,
    Repair,
    RepairKind,
    Series,
    SliceHeader,
    Study,
    Unreadable,
)
from worker.errors import BrokenStudy, NotLumbar
from worker.intake.acquisition import echo_time_ms, image_type, read_acquisition
from worker.intake.mixed_series import SourceSlice, usable_slices
from worker.intake.patient import check_one_patient
from worker.intake.repair import repair_headers
from worker.intake.stacks import in_one_plane

MIN_SPACING_MM: Final = 0.01
MAX_SPACING_MM: Final = 50.0
FARTHEST_MM: Final = 10_000.0
"""Limits of plausible geometry: a header beyond them is broken, and crops in millimetres would not
fit into memory."""


def read_study(instances: Sequence[Instance | Unreadable]) -> Study:
    """Build the study of these objects, after repair; their order does not matter.

    A duplicate object (same series and SOP Instance UID) is kept once. Raises NotLumbar
    when there is no DICOM object, BrokenStudy when none can be read or when they belong to
    several studies, SeveralPatients when they name different patients.
    """
    if not instances:
        raise NotLumbar("no DICOM object found; name the folder of one lumbar MRI study")
    named = [i for i in instances if isinstance(i, Instance) and _has_identity(i.header)]
    lost = len(instances) - len(named)
    if not named:
        raise BrokenStudy(f"none of the {lost} DICOM objects can be read; send the study again")
    study_uid = _one_study(named)
    check_one_patient(instance.header for instance in named)
    repaired, repairs = repair_headers(named)
    kept, duplicates = _without_duplicates(repaired)
    by_series: defaultdict[str, list[Instance]] = defaultdict(list)
    for instance in kept:
        by_series[text(instance.header, "SeriesInstanceUID")].append(instance)
    if lost:
        lost_repair = Repair(RepairKind.UNREADABLE, None, lost, "left out")
        repairs = (*repairs, lost_repair)
    read = [_read_series(uid, by_series[uid]) for uid in sorted(by_series)]
    parts = tuple(
        Repair(
            RepairKind.PART,
            series.series_instance_uid,
            left_out.total(),
            ", ".join(sorted(left_out)),
        )
        for series, left_out in read
        if left_out
    )
    return Study(
        study_instance_uid=study_uid,
        series=tuple(series for series, _ in read),
        repairs=repairs + duplicates + parts,
        sources={_identity(instance.header): instance.header for instance in kept},
    )


def _identity(header: Dataset) -> tuple[str, str]:
    return text(header, "SeriesInstanceUID"), text(header, "SOPInstanceUID")


def _has_identity(header: Dataset) -> bool:
    return bool(text(header, "StudyInstanceUID")) and all(_identity(header))


def _one_study(instances: Sequence[Instance]) -> str:
    found = sorted({text(i.header, "StudyInstanceUID") for i in instances})
    if len(found) > 1:
        uids = ", ".join(map(printable_uid, found[:5])) + (" ..." if len(found) > 5 else "")
        raise BrokenStudy(
            f"the objects belong to {len(found)} studies; grade one study at a time "
            f"(Study Instance UIDs {uids})"
        )
    return found[0]


def _without_duplicates(
    instances: Sequence[Instance],
) -> tuple[list[Instance], tuple[Repair, ...]]:
    kept: dict[tuple[str, str], Instance] = {}
    dropped: Counter[str] = Counter()
    for instance in sorted(instances, key=lambda i: (_identity(i.header), i.key)):
        if kept.setdefault(_identity(instance.header), instance) is not instance:
            dropped[text(instance.header, "SeriesInstanceUID")] += 1
    return list(kept.values()), tuple(
        Repair(RepairKind.DUPLICATE, uid, count, "the same object stored twice")
        for uid, count in sorted(dropped.items())
    )


def _read_series(uid: str, instances: Sequence[Instance]) -> tuple[Series, Counter[str]]:
    """One series, and the number of slices left out of a mixed series, by reason.

    `instances` is not empty and ordered by SOP Instance UID.
    """
    found: list[SourceSlice] = []
    unplaced = 0
    for instance in instances:
        slices = list(_slices(instance))
        found += slices
        unplaced += not slices
    used, left_out = usable_slices(found)
    header, frame = (used[0].source, used[0].frame) if used else (instances[0].header, None)
    series = Series(
        series_instance_uid=uid,
        acquisition=read_acquisition(header, frame),
        slices=in_one_plane([one.header for one in used]),
        frame_of_reference_uid=text(header, "FrameOfReferenceUID") or None,
        patient_position=text(header, "PatientPosition").upper(),
        unplaced=unplaced,
    )
    return series, left_out


def _slices(instance: Instance) -> Iterator[SourceSlice]:
    """The slices of one object: one, or one for each frame that has a plane."""
    header = instance.header
    frames = values(header, "PerFrameFunctionalGroupsSequence")
    image = (text(header, "SeriesInstanceUID"), text(header, "SOPInstanceUID"))
    instance_number = integer(header, "InstanceNumber")
    if not frames:
        plane = _plane(header, header, header, header)
        # A multi-frame image without functional groups gives no position for its frames.
        if plane is not None and (integer(header, "NumberOfFrames") or 1) == 1:
            found = SliceHeader(instance.key, ImageReference(*image), instance_number, plane)
            yield _source_slice(found, header, None)
        return
    for number, frame in enumerate(frames, start=1):
        if not isinstance(frame, Dataset):
            continue
        groups = [
            functional_group(header, frame, keyword)
            for keyword in (
                "PlanePositionSequence",
                "PlaneOrientationSequence",
                "PixelMeasuresSequence",
            )
        ]
        plane = _plane(header, *groups)
        if plane is not None:
            reference = ImageReference(*image, frame=number)
            found = SliceHeader(instance.key, reference, instance_number, plane)
            yield _source_slice(found, header, frame)


def _source_slice(found: SliceHeader, header: Dataset, frame: Dataset | None) -> SourceSlice:
    return SourceSlice(found, header, frame, image_type(header, frame), echo_time_ms(header, frame))


def _plane(
    header: Dataset, position: Dataset, orientation: Dataset, measures: Dataset
) -> Plane | None:
    """The plane (PS3.3 C.7.6.2); None where attributes are missing or invalid."""
    origin = vector(position, "ImagePositionPatient", 3)
    directions = vector(orientation, "ImageOrientationPatient", 6)
    spacing = vector(measures, "PixelSpacing", 2)
    rows, columns = integer(header, "Rows"), integer(header, "Columns")
    if not (origin and directions and spacing and rows and columns):
        return None
    if not all(MIN_SPACING_MM <= one <= MAX_SPACING_MM for one in spacing):
        return None
    if not all(abs(value) <= FARTHEST_MM for value in origin):
        return None
    try:
        return Plane(
            position_mm=(origin[0], origin[1], origin[2]),
            along_columns=(directions[0], directions[1], directions[2]),
            along_rows=(directions[3], directions[4], directions[5]),
            row_spacing_mm=spacing[0],
            column_spacing_mm=spacing[1],
            rows=rows,
            columns=columns,
        )
    except ValueError:
        return None
