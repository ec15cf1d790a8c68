"""The reasons for which a target has no grade."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class NotAssessedReason(StrEnum):
    """Why a target has no grade; the value is a stable code, `label` is text for readers."""

    NO_SAGITTAL_T1 = "no_sagittal_t1"
    NO_SAGITTAL_T2 = "no_sagittal_t2"
    NO_AXIAL_T2 = "no_axial_t2"
    LEVEL_NOT_FOUND = "level_not_found"
    FORAMEN_NOT_FOUND = "foramen_not_found"
    CANAL_NOT_FOUND = "canal_not_found"
    NO_AXIAL_SLICE = "no_axial_slice"
    OUTSIDE_IMAGE = "outside_image"
    NOT_SAME_SPACE = "not_same_space"
    SERIES_UNUSABLE = "series_unusable"
    ORIENTATION_IN_DOUBT = "orientation_in_doubt"
    UNCERTAIN = "uncertain"
    UNDER_AGE = "under_age"
    NOT_LUMBAR = "not_lumbar"
    TOO_FEW_LEVELS = "too_few_levels"
    TRANSITIONAL_ANATOMY = "transitional_anatomy"
    METAL_ARTEFACT = "metal_artefact"

    @property
    def label(self) -> str:
        """The reason as reports print it."""
        return _REASON_LABELS[self]


_REASON_LABELS: Final = {
    NotAssessedReason.NO_SAGITTAL_T1: "no sagittal T1",
    NotAssessedReason.NO_SAGITTAL_T2: "no sagittal T2",
    NotAssessedReason.NO_AXIAL_T2: "no axial T2",
    NotAssessedReason.LEVEL_NOT_FOUND: "the disc level was not found",
    NotAssessedReason.FORAMEN_NOT_FOUND: "the foramen was not found",
    NotAssessedReason.CANAL_NOT_FOUND: "the canal was not found on the axial slice",
    NotAssessedReason.NO_AXIAL_SLICE: "no axial slice within 5 mm of the disc",
    NotAssessedReason.OUTSIDE_IMAGE: "the target lies outside the image",
    NotAssessedReason.NOT_SAME_SPACE: "the series do not share a patient space",
    NotAssessedReason.SERIES_UNUSABLE: "the series that shows it is there but cannot be used",
    NotAssessedReason.ORIENTATION_IN_DOUBT: (
        "the images contradict the patient orientation in the headers"
    ),
    NotAssessedReason.UNCERTAIN: "the models are too unsure",
    NotAssessedReason.UNDER_AGE: "the patient is under the minimum age",
    NotAssessedReason.NOT_LUMBAR: "the images do not show a whole lumbar spine",
    NotAssessedReason.TOO_FEW_LEVELS: "too few disc levels were found to number them",
    NotAssessedReason.TRANSITIONAL_ANATOMY: (
        "transitional anatomy suspected: level numbering is in doubt"
    ),
    NotAssessedReason.METAL_ARTEFACT: "metal artefact suspected",
}
