"""A study by its headers: slices, series, and the roles of series."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import assert_never

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_sr.findings import ImageReference, NotAssessedReason
from worker.domain.geometry import Plane


class Role(StrEnum):
    """The use of a series in grading."""

    SAGITTAL_T1 = "sagittal_t1"
    SAGITTAL_T2 = "sagittal_t2"
    AXIAL_T2 = "axial_t2"

    @property
    def label(self) -> str:
        """The role as messages name it."""
        match self:
            case Role.SAGITTAL_T1:
                return "sagittal T1"
            case Role.SAGITTAL_T2:
                return "sagittal T2"
            case Role.AXIAL_T2:
                return "axial T2"
            case _:
                assert_never(self)


@dataclass(frozen=True)
class Instance:
    """One stored DICOM object: its key in the archive, and its header.

    `key` has a meaning only for the archive that made it (a path, an Orthanc id).
    `header` has no PixelData.
    """

    key: str
    header: Dataset


@dataclass(frozen=True)
class Unreadable:
    """A stored object that cannot be read; `error` names the type of the exception."""

    key: str
    error: str


@dataclass(frozen=True)
class SliceHeader:
    """One slice: a single-frame image, or one frame of a multi-frame image.

    `image` identifies it in reports (after repair); `key` identifies the stored object in
    the archive.
    """

    key: str
    image: ImageReference
    instance_number: int | None
    plane: Plane


@dataclass(frozen=True)
class Acquisition:
    """The physics and the texts that routing uses; None or empty where absent.

    Times are in milliseconds, the flip angle in degrees. `acquired` is date and time in
    DICOM format, so that it sorts by time.
    """

    echo_time_ms: float | None = None
    repetition_time_ms: float | None = None
    inversion_time_ms: float | None = None
    flip_angle_deg: float | None = None
    echo_train_length: int | None = None
    scanning_sequence: tuple[str, ...] = ()
    sequence_variant: tuple[str, ...] = ()
    sequence_name: str = ""
    acquisition_type: str = ""
    image_type: tuple[str, ...] = ()
    contrast_agent: str = ""
    series_description: str = ""
    protocol_name: str = ""
    body_part: str = ""
    modality: str = ""
    sop_class_uid: str = ""
    study_description: str = ""
    acquired: str = ""
    scan_options: tuple[str, ...] = ()
    manufacturer: str = ""
    model_name: str = ""
    station_name: str = ""
    series_number: int | None = None


@dataclass(frozen=True)
class Series:
    """One series: its acquisition, and its slices in no particular order.

    `unplaced` counts objects without a usable image plane, `why_unplaced` names the attributes at
    fault. `part` numbers the stacks of a series that holds several, from 1; 0 for a whole series.
    `companions` counts slices of other short series that belong to the same stack.
    """

    series_instance_uid: str
    acquisition: Acquisition
    slices: tuple[SliceHeader, ...]
    frame_of_reference_uid: str | None = None
    patient_position: str = ""
    unplaced: int = 0
    why_unplaced: str = ""
    part: int = 0
    companions: int = 0

    @cached_property
    def extent_mm(self) -> NDArray[np.float64]:
        """The bounding box of all slice corners, shape (2, 3): lowest and highest LPS in mm."""
        planes = [header.plane for header in self.slices]
        origin = np.array([p.position_mm for p in planes])
        across = np.array([p.along_columns for p in planes]) * np.array(
            [[p.column_spacing_mm * (p.columns - 1)] for p in planes]
        )
        down = np.array([p.along_rows for p in planes]) * np.array(
            [[p.row_spacing_mm * (p.rows - 1)] for p in planes]
        )
        corners = np.concatenate([origin, origin + across, origin + down, origin + across + down])
        box: NDArray[np.float64] = np.stack([corners.min(axis=0), corners.max(axis=0)])
        return box


class RepairKind(StrEnum):
    """A repair made by intake, or an object that it left out."""

    SOP_CLASS = "sop_class_uid_assumed_mr"
    MODALITY = "modality_assumed_mr"
    SOP_INSTANCE = "sop_instance_uid_derived"
    TYPE_2 = "type_2_attribute_filled_empty"
    FRAME_OF_REFERENCE = "frame_of_reference_differs"
    UNREADABLE = "object_unreadable"
    DUPLICATE = "duplicate_slice_dropped"
    PART = "part_of_series_left_out"


@dataclass(frozen=True)
class Repair:
    """One kind of repair of one series, with the number of instances."""

    kind: RepairKind
    series_instance_uid: str | None
    instances: int
    detail: str = ""


@dataclass(frozen=True)
class Study:
    """All series of one study after repair, and the repairs.

    `sources` maps (Series Instance UID, SOP Instance UID) after repair to the repaired
    header; the SR copies its patient and study modules from these.
    """

    study_instance_uid: str
    series: tuple[Series, ...]
    repairs: tuple[Repair, ...] = ()
    sources: dict[tuple[str, str], Dataset] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Evidence:
    """The result of one rule for one series: the name of the rule, its result, and the reason."""

    rule: str
    says: str
    because: str


@dataclass(frozen=True)
class Routing:
    """The decision for one series: a role or none, and the reason as text.

    `evidence` holds every rule that matched, in order of precedence: site rule, geometry,
    physics, texts, pixels, and last the spatial relation to other series.
    """

    series_instance_uid: str
    series_description: str
    role: Role | None
    reason: str
    flags: tuple[str, ...] = ()
    elsewhere: Role | None = None
    """The role that it would have in the patient space of the study."""
    unusable: Role | None = None
    """The role that it would have if its slices could be used."""
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class Exclusion:
    """Why a study is not graded, by its headers alone, with the evidence.

    `because` never contains a birth date, an age or a free text.
    """

    reason: NotAssessedReason
    because: str


@dataclass(frozen=True)
class RoutedStudy:
    """A study with a decision for every series: `routed | rejected == all`.

    `roles` holds the series of each role, best first; `decisions` holds one entry for every
    series of the study, in the order of the study. With `exclusions` nothing is graded, and
    the first is the reason.
    """

    study: Study
    roles: dict[Role, tuple[Series, ...]]
    decisions: tuple[Routing, ...]
    exclusions: tuple[Exclusion, ...] = ()

    @property
    def rejected(self) -> tuple[Routing, ...]:
        """The decisions without a role."""
        return tuple(d for d in self.decisions if d.role is None)

    @property
    def absent(self) -> dict[Role, NotAssessedReason]:
        """Why a role has no images although a series for it is there.

        A role that was routed is here too, for the case that its images cannot be decoded.
        """
        unusable = NotAssessedReason.SERIES_UNUSABLE
        found = {d.unusable: unusable for d in self.decisions if d.unusable is not None}
        found |= {
            d.elsewhere: NotAssessedReason.NOT_SAME_SPACE
            for d in self.decisions
            if d.elsewhere is not None
        }
        return found | dict.fromkeys(self.roles, unusable)

    @property
    def routed(self) -> tuple[Routing, ...]:
        """The decisions with a role."""
        return tuple(d for d in self.decisions if d.role is not None)
