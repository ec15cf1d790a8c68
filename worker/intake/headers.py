"""Builds a `Study` from stored objects: series, slices with their planes, acquisitions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
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
from worker.intake.acquisition import (
    acquisition_pass,
    echo_time_ms,
    image_type,
    read_acquisition,
)
from worker.intake.mixed_series import SourceSlice
from worker.intake.parts import parts_of, with_companions
from worker.intake.patient import check_one_patient
from worker.intake.repair import repair_headers
from worker.intake.stacks import in_one_plane

MIN_SPACING_MM: Final = 0.01
MAX_SPACING_MM: Final = 50.0
FARTHEST_MM: Final = 10_000.0
"""Limits of plausible geometry: a header beyond them is broken, and crops in millimetres would not
fit into memory."""


_PLANE_GROUPS: Final = (
    *("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"),
)


class Unplaced(ValueError):
    """An image without a usable plane; the argument names the attribute that is at fault."""


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
        why = sorted({i.error if isinstance(i, Unreadable) else "NoUIDs" for i in instances})
        raise BrokenStudy(
            f"none of the {lost} DICOM objects can be read ({', '.join(why[:5])}); check the "
            "system that exported them"
        )
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
    read = [part for uid in sorted(by_series) for part in _read_series(uid, by_series[uid])]
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
        series=with_companions([series for series, _ in read]),
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


def _read_series(uid: str, instances: Sequence[Instance]) -> list[tuple[Series, Counter[str]]]:
    """The parts of one series, each with the number of slices left out of it, by reason.

    `instances` is not empty and ordered by SOP Instance UID.
    """
    found: list[SourceSlice] = []
    unplaced: Counter[str] = Counter()
    for instance in instances:
        try:
            found += _slices(instance)
        except Unplaced as error:
            unplaced[str(error)] += 1
    if not found:
        return [(_series(uid, instances[0].header, None, (), unplaced=unplaced), Counter())]
    parts = parts_of(found)
    parts[0].left_out.update({f"{why} missing or invalid": n for why, n in unplaced.items()})
    return [
        (
            _series(
                uid,
                part.slices[0].source,
                part.slices[0].frame,
                tuple(one.header for one in part.slices),
                part=number if len(parts) > 1 else 0,
                unplaced=unplaced if number == 1 else Counter(),
            ),
            part.left_out,
        )
        for number, part in enumerate(parts, start=1)
    ]


def _series(
    uid: str,
    header: Dataset,
    frame: Dataset | None,
    slices: tuple[SliceHeader, ...],
    *,
    part: int = 0,
    unplaced: Counter[str],
) -> Series:
    return Series(
        series_instance_uid=uid,
        acquisition=read_acquisition(header, frame),
        slices=in_one_plane(slices),
        frame_of_reference_uid=text(header, "FrameOfReferenceUID") or None,
        patient_position=text(header, "PatientPosition").upper(),
        unplaced=unplaced.total(),
        why_unplaced=", ".join(sorted(unplaced)),
        part=part,
    )


def _slices(instance: Instance) -> list[SourceSlice]:
    """The slices of one object: one, or one for each frame that has a plane.

    Raises Unplaced where there is none.
    """
    header = instance.header
    frames = values(header, "PerFrameFunctionalGroupsSequence")
    image = (text(header, "SeriesInstanceUID"), text(header, "SOPInstanceUID"))
    instance_number = integer(header, "InstanceNumber")
    if not frames:
        plane = _plane(header, header, header, header)
        if (integer(header, "NumberOfFrames") or 1) != 1:
            # A multi-frame image without functional groups gives no position for its frames.
            raise Unplaced("Per-Frame Functional Groups Sequence")
        found = SliceHeader(instance.key, ImageReference(*image), instance_number, plane)
        return [_source_slice(found, header, None)]
    slices: list[SourceSlice] = []
    problem = Unplaced("Per-Frame Functional Groups Sequence")
    for number, frame in enumerate(frames, start=1):
        if not isinstance(frame, Dataset):
            continue
        groups = [functional_group(header, frame, keyword) for keyword in _PLANE_GROUPS]
        try:
            plane = _plane(header, *groups)
        except Unplaced as error:
            problem = error
            continue
        reference = ImageReference(*image, frame=number)
        found = SliceHeader(instance.key, reference, instance_number, plane)
        slices.append(_source_slice(found, header, frame))
    if not slices:
        raise problem
    return slices


def _source_slice(found: SliceHeader, header: Dataset, frame: Dataset | None) -> SourceSlice:
    return SourceSlice(
        found,
        header,
        frame,
        image_type(header, frame),
        echo_time_ms(header, frame),
        acquisition_pass(header),
    )


def _plane(header: Dataset, position: Dataset, orientation: Dataset, measures: Dataset) -> Plane:
    """The plane (PS3.3 C.7.6.2); raise Unplaced where an attribute is missing or invalid."""
    origin = vector(position, "ImagePositionPatient", 3)
    directions = vector(orientation, "ImageOrientationPatient", 6)
    spacing = vector(measures, "PixelSpacing", 2)
    rows, columns = integer(header, "Rows"), integer(header, "Columns")
    if not origin or not all(abs(value) <= FARTHEST_MM for value in origin):
        raise Unplaced("Image Position (Patient)")
    if not directions:
        raise Unplaced("Image Orientation (Patient)")
    if not spacing or not all(MIN_SPACING_MM <= one <= MAX_SPACING_MM for one in spacing):
        raise Unplaced("Pixel Spacing")
    if not (rows and columns):
        raise Unplaced("Rows or Columns")
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
        raise Unplaced("Image Orientation (Patient)") from None
