"""Writes a repaired copy of a study that archives accept (`lumbar repair IN OUT`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian

from dicom_sr.attributes import integer, text
from worker.domain.study import Instance, Repair, RepairKind, Unreadable
from worker.errors import BadSettings, BrokenStudy, NotLumbar
from worker.intake.decoding import guarded, read_header
from worker.intake.files import dicom_files
from worker.intake.repair import RepairedHeader, colliding_uids, repair_header, summary


def repair_folder(
    source: Path,
    destination: Path,
    progress: Callable[[int, int], None] | None = None,
) -> list[Repair]:
    """Write a repaired copy of every DICOM file below `source` into `destination`.

    Pixels and transfer syntax are unchanged, the file meta information is rebuilt from the
    data set, and the files are named `SS-IIII.dcm` by series and instance number, so that
    paths contain no patient name. `progress` is called with the number of files done and
    the total. Files that cannot be read are left out and recorded.

    Raises BadSettings when the destination is not empty or is inside the source,
    NotLumbar when there is no DICOM file, BrokenStudy when none can be read.
    """
    _refuse_bad_destination(source, destination)
    files = dicom_files(source)
    if not files:
        raise NotLumbar(f"no DICOM file in {source}; name the folder of one study")
    read = [read_header(str(path), path) for path in files]
    # A truncated file may give a header without UIDs.
    named = (i for i in read if isinstance(i, Instance) and text(i.header, "SOPInstanceUID"))
    instances = sorted(named, key=_order)
    if not instances:
        raise BrokenStudy(f"none of the {len(files)} DICOM files in {source} can be read")
    unreadable = len(files) - len(instances)
    colliding = colliding_uids(i.header for i in instances)
    destination.mkdir(parents=True, exist_ok=True)
    written: list[RepairedHeader] = []
    for done, (instance, name) in enumerate(zip(instances, _names(instances), strict=True), 1):
        copied = guarded(instance.key, partial(_copy, instance, destination / name, colliding))
        if isinstance(copied, Unreadable):
            unreadable += 1
        else:
            written.append(copied)
        if progress is not None:
            progress(done, len(instances))
    lost = Repair(RepairKind.UNREADABLE, None, unreadable, "left out of the copy")
    return [*summary(written), *([lost] if unreadable else [])]


def _refuse_bad_destination(source: Path, destination: Path) -> None:
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise BadSettings(f"{destination} is not empty; name a new folder for the repaired copy")
    if source.is_dir() and destination.resolve().is_relative_to(source.resolve()):
        raise BadSettings(f"{destination} is inside {source}; name a folder outside of it")


def _order(instance: Instance) -> tuple[str, int, str, str]:
    header = instance.header
    number = integer(header, "InstanceNumber")
    return (
        text(header, "SeriesInstanceUID"),
        -1 if number is None else number,
        text(header, "SOPInstanceUID"),
        instance.key,
    )


def _names(instances: Sequence[Instance]) -> Iterator[str]:
    """`SS-IIII.dcm` for instances ordered by series: the series and the image in it, from 1."""
    series, previous, image = 0, None, 0
    for instance in instances:
        uid = text(instance.header, "SeriesInstanceUID")
        series, image = (series, image + 1) if uid == previous else (series + 1, 1)
        previous = uid
        yield f"{series:02}-{image:04}.dcm"


def _copy(instance: Instance, path: Path, colliding: Collection[str]) -> RepairedHeader:
    original = dcmread(instance.key, force=True)
    repaired = repair_header(original, colliding)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = original.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)
    meta.MediaStorageSOPClassUID = repaired.header.SOPClassUID
    meta.MediaStorageSOPInstanceUID = repaired.header.SOPInstanceUID
    copy = repaired.header
    copy.file_meta = meta
    temporary = path.with_suffix(".part")
    copy.save_as(
        temporary,
        enforce_file_format=True,
        implicit_vr=meta.TransferSyntaxUID.is_implicit_VR,
        little_endian=meta.TransferSyntaxUID.is_little_endian,
    )
    temporary.rename(path)
    return repaired
