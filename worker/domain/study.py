"""What the headers say: slices, series, the study, and the roles that series take."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_sr.findings import ImageReference, NotAssessedReason
from worker.domain.geometry import Plane


class Role(StrEnum):
    """What a series is used for."""

    SAGITTAL_T1 = "sagittal_t1"
    SAGITTAL_T2 = "sagittal_t2"
    AXIAL_T2 = "axial_t2"

    @property
    def label(self) -> str:
        """The role as people read it."""
        return {
            "sagittal_t1": "sagittal T1",
            "sagittal_t2": "sagittal T2",
            "axial_t2": "axial T2",
        }[self]


@dataclass(frozen=True)
class Instance:
    """One stored DICOM object: the archive's own key for it, and its header.

    `key` is opaque to everyone but the archive that made it (a path, an Orthanc id).
    `header` holds no PixelData.
    """

    key: str
    header: Dataset


@dataclass(frozen=True)
class Unreadable:
    """A stored object that is no readable DICOM file; `error` names the exception's type."""

    key: str
    error: str


@dataclass(frozen=True)
class SliceHeader:
    """One slice: a single-frame image, or one frame of a multi-frame one.

    `image` names it in reports (after repair); `key` names the stored object in the
    archive, whose pixels have not been read yet.
    """

    key: str
    image: ImageReference
    instance_number: int | None
    plane: Plane


@dataclass(frozen=True)
class Acquisition:
    """The physics and the texts that routing looks at; None or empty where absent.

    Times are in milliseconds, the flip angle in degrees. `acquired` is date and time as
    DICOM writes them, so that later sorts after earlier.
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
    """One series: what was acquired, and its slices in no particular order.

    `unplaced` counts objects without a usable image plane.
    """

    series_instance_uid: str
    acquisition: Acquisition
    slices: tuple[SliceHeader, ...]
    frame_of_reference_uid: str | None = None
    patient_position: str = ""
    unplaced: int = 0

    @cached_property
    def extent_mm(self) -> NDArray[np.float64]:
        """The box around all slice corners, shape (2, 3): lowest and highest LPS in mm."""
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
    """What intake had to mend, or could not."""

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
    """One kind of repair made on one series, and to how many instances."""

    kind: RepairKind
    series_instance_uid: str | None
    instances: int
    detail: str = ""


@dataclass(frozen=True)
class Study:
    """All series of one study, after repair, with the repairs recorded.

    `sources` maps (Series Instance UID, SOP Instance UID) after repair to the repaired
    header, which the SR copies its patient and study modules from.
    """

    study_instance_uid: str
    series: tuple[Series, ...]
    repairs: tuple[Repair, ...] = ()
    sources: dict[tuple[str, str], Dataset] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Evidence:
    """What one rule said about one series: the rule's name, its claim, and what it rests on."""

    rule: str
    says: str
    because: str


@dataclass(frozen=True)
class Routing:
    """What was decided for one series: a role or none, and the reason in words.

    `evidence` holds every rule that spoke, for or against, the stronger before the weaker:
    a site's rule, geometry, physics, texts, pixels, and last how the series lie to each other.
    """

    series_instance_uid: str
    series_description: str
    role: Role | None
    reason: str
    flags: tuple[str, ...] = ()
    elsewhere: Role | None = None
    """The role it would have had, if it shared the study's patient space."""
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class Exclusion:
    """Why nothing of a study is graded, by its headers alone, and what that rests on.

    `because` never holds a birth date, an age or a text as it was written.
    """

    reason: NotAssessedReason
    because: str


@dataclass(frozen=True)
class RoutedStudy:
    """A study with a decision for every series: `routed | rejected == all`.

    `roles` holds the series to use for each role, best first; `decisions` holds one
    entry for every series of the study, in the study's order. Where there are `exclusions`
    nothing is graded, and the first is the reason.
    """

    study: Study
    roles: dict[Role, tuple[Series, ...]]
    decisions: tuple[Routing, ...]
    exclusions: tuple[Exclusion, ...] = ()

    @property
    def rejected(self) -> tuple[Routing, ...]:
        """The decisions that gave no role."""
        return tuple(d for d in self.decisions if d.role is None)

    @property
    def elsewhere(self) -> frozenset[Role]:
        """The roles of series that lie in another patient space."""
        return frozenset(d.elsewhere for d in self.decisions if d.elsewhere is not None)

    @property
    def routed(self) -> tuple[Routing, ...]:
        """The decisions that gave a role."""
        return tuple(d for d in self.decisions if d.role is not None)
