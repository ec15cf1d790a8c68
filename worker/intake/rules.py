"""Why a series can have no role: an ordered table of small rules.

Each rule looks at one series and returns the reason in words, or None. The first that
speaks decides. BodyPartExamined alone never excludes: it is often a leftover.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final

from worker.intake import words
from worker.intake.repair import MR_IMAGE_CLASSES
from worker.intake.space import extent_mm
from worker.nouns.geometry import Orientation
from worker.nouns.study import Series

MIN_SLICES: Final = 5

Exclusion = Callable[[Series], str | None]

_STRUCTURED_REPORTS: Final = "1.2.840.10008.5.1.4.1.1.88."
_DERIVED_TYPES: Final = {
    "LOCALIZER": "a localiser",
    "PROJECTION IMAGE": "a projection",
    "MIP": "a projection",
    "MIN_IP": "a projection",
    "MPR": "a reformatted image",
    "REFORMATTED": "a reformatted image",
    "ADC": "a diffusion map",
    "DIFFUSION": "diffusion",
    "TRACEW": "diffusion",
    "FA": "a diffusion map",
    "SUBTRACTION": "a subtraction",
    "T1 MAP": "a parameter map",
    "T2 MAP": "a parameter map",
    "SCREEN SAVE": "a screen capture",
    "PHASE MAP": "a phase image",
    "P": "a phase image",
    "FAT": "the fat image of a Dixon set",
    "F": "the fat image of a Dixon set",
    "FAT_FRACTION": "the fat image of a Dixon set",
    "IN_PHASE": "the in-phase image of a Dixon set",
    "IP": "the in-phase image of a Dixon set",
    "OUT_PHASE": "the opposed-phase image of a Dixon set",
    "OPP_PHASE": "the opposed-phase image of a Dixon set",
    "OP": "the opposed-phase image of a Dixon set",
}
_WATER: Final = frozenset({"WATER", "W"})
_GRADIENT_NAMES: Final = ("fl2d", "fl3d", "tfl", "tfi", "fi2d", "fi3d", "me2d", "me3d", "qfl")
_ECHO_PLANAR_NAMES: Final = ("ep2d", "ep_", "epfid", "epse", "ez_b", "re_b")


def structured_report(series: Series) -> str | None:
    """Reports, our own among them, are no images."""
    found = series.acquisition
    if found.modality == "SR" or found.sop_class_uid.startswith(_STRUCTURED_REPORTS):
        return "a structured report, not an image"
    return None


def not_mr(series: Series) -> str | None:
    """Only MR images carry MR contrast; a secondary capture of one does not."""
    found = series.acquisition
    if found.modality not in ("", "MR"):
        return f"not MR but {found.modality[:16]}"
    if found.sop_class_uid and found.sop_class_uid not in MR_IMAGE_CLASSES:
        return "not stored as MR images"
    return None


def no_plane(series: Series) -> str | None:
    """Without position, orientation and spacing nothing can be placed in the patient."""
    if not series.slices:
        return f"none of its {series.unplaced} objects has a usable image plane"
    return None


def image_type(series: Series) -> str | None:
    """ImageType (PS3.3 C.7.6.1.1.2) names localisers, maps, projections and Dixon parts."""
    kinds = series.acquisition.image_type
    for kind in kinds:
        if kind in _DERIVED_TYPES:
            return f"{_DERIVED_TYPES[kind]} by its image type"
    if kinds[:1] == ("DERIVED",) and not _WATER & set(kinds):
        return "derived from other images"
    return None


def localiser(series: Series) -> str | None:
    """Scouts: named so, or with slices in several anatomical planes."""
    found = _described(series) & words.LOCALISER
    if found or _phrase(series, "3", "plane"):
        return "a localiser by its description"
    if len({header.plane.orientation for header in series.slices}) > 1:
        return "slices in several anatomical planes: a scout"
    return None


def reconstruction(series: Series) -> str | None:
    """Projections, reformats, maps and screen captures by their description."""
    found = _described(series) & words.RECONSTRUCTION
    return f"{min(found).upper()} by its description" if found else None


def myelography(series: Series) -> str | None:
    """Heavily T2-weighted projections show fluid and nothing else."""
    return "myelography" if _described(series) & words.MYELOGRAPHY else None


def diffusion(series: Series) -> str | None:
    """Diffusion, perfusion and other echo-planar images."""
    found = series.acquisition
    name = found.sequence_name.lower().lstrip("*")
    if "EP" in found.scanning_sequence or name.startswith(_ECHO_PLANAR_NAMES):
        return "echo planar by its pulse sequence"
    if _described(series) & words.DIFFUSION:
        return "diffusion or perfusion by its description"
    return None


def gradient_echo(series: Series) -> str | None:
    """Gradient echo weights by T2*, whatever its echo time."""
    found = series.acquisition
    name = found.sequence_name.lower().lstrip("*")
    pure = "GR" in found.scanning_sequence and "SE" not in found.scanning_sequence
    if pure or name.startswith(_GRADIENT_NAMES):
        return "gradient echo by its pulse sequence"
    if _described(series) & words.GRADIENT_ECHO:
        return "gradient echo by its description"
    return None


def dixon_part(series: Series) -> str | None:
    """Fat, in-phase and opposed-phase images of a Dixon set; water is kept."""
    for text in words.texts_of(series.acquisition):
        found = words.tokens(text)
        for word, following in pairwise((*found, "")):
            if word == "fat" and following not in words.FAT_IMAGE_FOLLOWERS:
                return "the fat image of a Dixon set by its description"
        if {"inphase", "outphase", "opposedphase"} & set(found) or any(
            first in words.OPPOSED and second == "phase" for first, second in pairwise(found)
        ):
            return "an in-phase or opposed-phase image by its description"
        if set(found) & words.DIXON and found[-1] in words.OPPOSED | {"f"}:
            return "a part of a Dixon set that is not water by its description"
    return None


def other_region(series: Series) -> str | None:
    """Another part of the body: by its texts, or by its label together with its size."""
    about, label = _regions(series)
    if (about | label) & words.LUMBAR:
        return None
    if about & words.OTHER_REGION:
        return f"another region: {min(about & words.OTHER_REGION)}"
    if label & words.OTHER_REGION and _unlike_a_lumbar_stack(series):
        return f"another region: labelled {min(label & words.OTHER_REGION)}, and sized like it"
    return None


def labelled_lumbar(series: Series) -> bool:
    """Whether its texts or its label say that it shows the lumbar spine."""
    about, label = _regions(series)
    return bool((about | label) & words.LUMBAR)


def labelled_elsewhere(series: Series) -> bool:
    """Whether BodyPartExamined names another region; evidence only beside other evidence."""
    _, label = _regions(series)
    return bool(label & words.OTHER_REGION) and not label & words.LUMBAR


def coronal(series: Series) -> str | None:
    """No target is graded on coronal slices."""
    planes = {header.plane.orientation for header in series.slices}
    return "coronal slices are not used" if planes == {Orientation.CORONAL} else None


def few_slices(series: Series) -> str | None:
    """Fewer than five slices do not cover a lumbar spine."""
    if len(series.slices) < MIN_SLICES:
        return f"only {len(series.slices)} slices, {MIN_SLICES} are needed"
    return None


EXCLUSIONS: Final[tuple[Exclusion, ...]] = (
    structured_report,
    not_mr,
    no_plane,
    image_type,
    localiser,
    reconstruction,
    myelography,
    diffusion,
    gradient_echo,
    dixon_part,
    other_region,
    coronal,
    few_slices,
)
"""The rules in the order in which they are asked."""


def exclude(series: Series) -> tuple[Exclusion, str] | None:
    """The first rule that excludes a series, with its reason; None where none does."""
    for rule in EXCLUSIONS:
        reason = rule(series)
        if reason is not None:
            return rule, reason
    return None


def _described(series: Series) -> set[str]:
    """The words of the series description; of the protocol where there is none.

    A protocol is often named after its first step, or after a sequence it no longer holds.
    """
    return set(words.tokens(next(iter(words.texts_of(series.acquisition)), "")))


def _phrase(series: Series, first: str, second: str) -> bool:
    found = words.tokens(series.acquisition.series_description)
    return (first, second) in pairwise(found)


def _regions(series: Series) -> tuple[set[str], set[str]]:
    """The words of its texts, and those of its label BodyPartExamined."""
    found = series.acquisition
    texts = (*words.texts_of(found), found.study_description)
    about = {word for text in texts for word in words.tokens(text)} | _joined_regions(*texts)
    return about, set(words.tokens(found.body_part)) | _joined_regions(found.body_part)


def _joined_regions(*texts: str) -> set[str]:
    """`C-Spine` and `L Spine` as the one word that the vocabulary knows."""
    found: set[str] = set()
    for text in texts:
        split = words.tokens(text)
        found |= {a + b for a, b in pairwise(split) if b == "spine" and len(a) == 1}
    return found


def _unlike_a_lumbar_stack(series: Series) -> bool:
    """A sagittal stack wider than a spine (a head), or lower than five levels (a joint)."""
    if not series.slices or series.slices[0].plane.orientation is not Orientation.SAGITTAL:
        return False
    low, high = extent_mm(series.slices)
    width, _, height = high - low
    return bool(width > 125 or height < 170)
