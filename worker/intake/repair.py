"""Repairs headers and records every repair.

Only values that follow from the rest of the object are filled in; attributes whose value is
unknown (ImageType, ScanningSequence) stay absent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import empty_value_for_VR
from pydicom.tag import Tag
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage

from dicom_sr.attributes import text, values
from dicom_sr.uids import derived_instance_uid
from worker.domain.study import Instance, Repair, RepairKind

LEGACY_ENHANCED_MR: Final = "1.2.840.10008.5.1.4.1.1.4.4"

MR_IMAGE_CLASSES: Final = frozenset({MRImageStorage, EnhancedMRImageStorage, LEGACY_ENHANCED_MR})

# Patient (PS3.3 C.7.1.1), General Study (C.7.2.1), General Series (C.7.3.1), Frame of
# Reference (C.7.4.1), General Equipment (C.7.5.1).
TYPE_2: Final = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID"),
    *("SeriesNumber", "PositionReferenceIndicator", "Manufacturer"),
)
"""Type 2 attributes of every image: required, may be empty."""

# General Image (C.7.6.1), Image Plane (C.7.6.2), MR Image (C.8.3.1).
TYPE_2_MR: Final = (
    *("InstanceNumber", "SliceThickness", "ScanOptions", "MRAcquisitionType"),
    *("EchoTime", "EchoTrainLength"),
    "RepetitionTime",  # 2C; the condition depends on ScanningSequence
)
"""Further type 2 attributes of MR Image Storage objects."""

_TAGS: Final = {keyword: Tag(keyword) for keyword in TYPE_2 + TYPE_2_MR}


@dataclass(frozen=True)
class RepairedHeader:
    """A header after repair; `done` lists the repairs with their details."""

    header: Dataset
    done: tuple[tuple[RepairKind, str], ...] = ()


def repair_headers(
    instances: Sequence[Instance],
) -> tuple[tuple[Instance, ...], tuple[Repair, ...]]:
    """Repair every header that needs it; the given headers are not changed.

    Returns the instances in the given order and the repairs, one for each series and
    kind. Repairing twice changes nothing more.
    """
    colliding = colliding_uids(instance.header for instance in instances)
    repaired = [repair_header(instance.header, colliding) for instance in instances]
    result = tuple(Instance(i.key, r.header) for i, r in zip(instances, repaired, strict=True))
    return result, summary(repaired)


def colliding_uids(headers: Iterable[Dataset]) -> frozenset[str]:
    """The SOP Instance UIDs that occur in more than one series."""
    series: defaultdict[str, set[str]] = defaultdict(set)
    for header in headers:
        series[text(header, "SOPInstanceUID")].add(text(header, "SeriesInstanceUID"))
    return frozenset(uid for uid, found in series.items() if uid and len(found) > 1)


def repair_header(header: Dataset, colliding: Collection[str]) -> RepairedHeader:
    """One data set after repair: a copy, or the same object where nothing was repaired.

    `colliding` holds the SOP Instance UIDs that occur in several series of the study: every
    instance with one of them gets a derived UID, independent of the order of files.
    """
    changes: dict[str, str] = {}
    missing: list[str] = []
    done: list[tuple[RepairKind, str]] = []
    sop_class, modality = text(header, "SOPClassUID"), text(header, "Modality")
    frames, has_pixels = values(header, "NumberOfFrames"), values(header, "Rows")
    if not sop_class and not frames and has_pixels and modality in ("", "MR"):
        # Not from the file meta information: some exports declare Enhanced MR there.
        sop_class = str(MRImageStorage)
        changes["SOPClassUID"] = MRImageStorage
        done.append((RepairKind.SOP_CLASS, "SOPClassUID"))
    if not modality and sop_class in MR_IMAGE_CLASSES:
        changes["Modality"] = "MR"
        done.append((RepairKind.MODALITY, "Modality"))
    sop_uid = text(header, "SOPInstanceUID")
    if sop_uid in colliding:
        changes["SOPInstanceUID"] = derived_instance_uid(text(header, "SeriesInstanceUID"), sop_uid)
        done.append((RepairKind.SOP_INSTANCE, "SOPInstanceUID"))
    if sop_class in MR_IMAGE_CLASSES:
        wanted = TYPE_2 + (TYPE_2_MR if sop_class == MRImageStorage else ())
        missing = [keyword for keyword in wanted if _TAGS[keyword] not in header]
        done += [(RepairKind.TYPE_2, keyword) for keyword in missing]
    if not changes and not missing:
        return RepairedHeader(header)
    copy = Dataset()
    copy.update(header)
    for keyword, value in changes.items():
        copy.add_new(keyword, dictionary_VR(keyword), value)
    for keyword in missing:
        vr = dictionary_VR(_TAGS[keyword])
        # Skips the conversion of empty values, for speed.
        empty = DataElement(_TAGS[keyword], vr, empty_value_for_VR(vr), already_converted=True)
        copy.add(empty)
    return RepairedHeader(copy, tuple(done))


def summary(headers: Sequence[RepairedHeader]) -> tuple[Repair, ...]:
    """One repair for each series and kind, with the number of repaired instances."""
    instances: Counter[tuple[str, RepairKind]] = Counter()
    details: defaultdict[tuple[str, RepairKind], set[str]] = defaultdict(set)
    for one in headers:
        series = text(one.header, "SeriesInstanceUID")
        instances.update({(series, kind) for kind, _ in one.done})
        for kind, detail in one.done:
            details[series, kind].add(detail)
    return tuple(
        Repair(kind, series or None, count, ", ".join(sorted(details[series, kind])))
        for (series, kind), count in sorted(instances.items())
    )
