"""Rules that exclude a series from having a role, in order.

Each rule takes one series and returns the reason as text, or None. The first that matches
decides: `PHYSICS` before `TEXTS`. BodyPartExamined alone never excludes a series: it often
remains from an earlier examination.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final

from worker.domain.geometry import Orientation
from worker.domain.study import Series
from worker.intake import image_types, vocabulary
from worker.intake.repair import MR_IMAGE_CLASSES
from worker.intake.tokens import tokens

MIN_SLICES: Final = 5

ExclusionRule = Callable[[Series], str | None]

_STRUCTURED_REPORTS: Final = "1.2.840.10008.5.1.4.1.1.88."
_GRADIENT_NAMES: Final = ("fl2d", "fl3d", "tfl", "tfi", "fi2d", "fi3d", "me2d", "me3d", "qfl")
_ECHO_PLANAR_NAMES: Final = ("ep2d", "ep_", "epfid", "epse", "ez_b", "re_b")

_SPIN_ECHO_TR_MS: Final = 200
_SPIN_ECHO_ANGLE_DEG: Final = 60
FLUID_TE_MS: Final = 400
"""The shortest TR and the smallest flip angle of a spin echo; TE of heavy T2 weighting.

With a T2 of 100 ms, 2 % of the signal is left after 400 ms. All three lie far outside the range
of lumbar protocols and were not fitted to data.
"""

_WIDEST_SPINE_MM: Final = 125
_LOWEST_LUMBAR_MM: Final = 170
"""Lumbar stacks are 60 to 90 mm wide and at least 200 mm high: a head is wider, a joint lower.
Used only with a label that names another region."""


def structured_report(series: Series) -> str | None:
    """Structured reports are not images."""
    found = series.acquisition
    if found.modality == "SR" or found.sop_class_uid.startswith(_STRUCTURED_REPORTS):
        return "a structured report, not an image"
    return None


def not_mr(series: Series) -> str | None:
    """Only MR images have MR contrast; a secondary capture does not."""
    found = series.acquisition
    if found.modality not in ("", "MR"):
        return f"not MR: modality {vocabulary.modality(found.modality)}"
    if found.sop_class_uid and found.sop_class_uid not in MR_IMAGE_CLASSES:
        return "SOP Class is not an MR image class"
    return None


def no_plane(series: Series) -> str | None:
    """Without position, orientation and spacing a slice has no place in patient space."""
    if not series.slices:
        return (
            f"none of its {series.unplaced} objects has a usable image plane: missing or invalid "
            f"{series.why_unplaced}"
        )
    return None


def several_planes(series: Series) -> str | None:
    """Slices in several anatomical planes are a localiser; see `in_one_plane` for steep blocks."""
    if len({header.plane.orientation for header in series.slices}) > 1:
        return "slices in several anatomical planes: a localiser"
    return None


def coronal(series: Series) -> str | None:
    """No target is graded on coronal slices."""
    planes = {header.plane.orientation for header in series.slices}
    return "coronal slices are not used" if planes == {Orientation.CORONAL} else None


def few_slices(series: Series) -> str | None:
    """Fewer than five slices do not cover a lumbar spine."""
    if len(series.slices) > 0 and len(series.slices) + series.companions < MIN_SLICES:
        return f"too few slices: {len(series.slices)}, at least {MIN_SLICES} are required"
    return None


def one_position(series: Series) -> str | None:
    """Slices at one position have no order, and their sides are unknown."""
    places = {header.plane.position_mm for header in series.slices}
    if len(series.slices) >= MIN_SLICES and len(places) + series.companions < MIN_SLICES:
        where = "one position" if len(places) == 1 else f"{len(places)} positions"
        return f"unusable: all {len(series.slices)} slices at {where}"
    return None


def image_type(series: Series) -> str | None:
    """ImageType (PS3.3 C.7.6.1.1.2) names localisers, maps, projections and Dixon parts."""
    return image_types.unusable(series.acquisition.image_type)


def echo_planar(series: Series) -> str | None:
    """Diffusion, perfusion and functional imaging are echo planar."""
    found = series.acquisition
    name = found.sequence_name.lower().lstrip("*")
    if "EP" in found.scanning_sequence or name.startswith(_ECHO_PLANAR_NAMES):
        return "echo planar by its pulse sequence"
    return None


def gradient_pulse(series: Series) -> str | None:
    """Gradient echo is T2*-weighted, whatever its echo time.

    A spin echo has a flip angle near 90 degrees and a long TR.
    """
    found = series.acquisition
    name = found.sequence_name.lower().lstrip("*")
    spin = "SE" in found.scanning_sequence
    if ("GR" in found.scanning_sequence and not spin) or name.startswith(_GRADIENT_NAMES):
        return "gradient echo by its pulse sequence"
    if "SS" in found.sequence_variant and not spin:
        return "gradient echo in a steady state by its sequence variant"
    tr, angle = found.repetition_time_ms, found.flip_angle_deg
    if tr is not None and tr < _SPIN_ECHO_TR_MS:
        return f"gradient echo by TR {tr:.0f} ms"
    if not spin and angle and angle < _SPIN_ECHO_ANGLE_DEG and found.acquisition_type != "3D":
        return f"gradient echo by a flip angle of {angle:.0f} degrees"
    return None


def fluid_alone(series: Series) -> str | None:
    """At a very long echo time only fluid has signal."""
    te = series.acquisition.echo_time_ms
    return f"myelography by TE {te:.0f} ms" if te is not None and te >= FLUID_TE_MS else None


def localiser(series: Series) -> str | None:
    """Scouts, surveys and calibrations, by their description."""
    words = _description_tokens(series)
    stems = any(stem in word for word in words for stem in vocabulary.LOCALISER_STEMS)
    if stems or set(words) & vocabulary.LOCALISER or ("3", "plane") in pairwise(words):
        return "a localiser by its description"
    return None


def reconstruction(series: Series) -> str | None:
    """Projections, reformats, maps and screen captures by their description."""
    words = set(_description_tokens(series))
    found = words & vocabulary.RECONSTRUCTION
    found |= {word for word in words if word.startswith(vocabulary.SUBTRACTION_STEMS)}
    return f"{min(found).upper()} by its description" if found else None


def myelography(series: Series) -> str | None:
    """Heavily T2-weighted projections show only fluid."""
    words = _description_tokens(series)
    stems = any(stem in word for word in words for stem in vocabulary.MYELOGRAPHY_STEMS)
    return "myelography by its description" if stems or "mrm" in words else None


def diffusion(series: Series) -> str | None:
    """Diffusion and perfusion by their description."""
    words = _description_tokens(series)
    if set(words) & vocabulary.DIFFUSION or any(map(vocabulary.B_VALUE.fullmatch, words)):
        return "diffusion or perfusion by its description"
    return None


def gradient_description(series: Series) -> str | None:
    """Gradient echo by its description, where the pulse sequence is not known to be spin echo."""
    if _spin_echo(series) or not _described_as_gradient(series):
        return None
    return "gradient echo by its description"


def dixon_part(series: Series) -> str | None:
    """Fat, in-phase and opposed-phase images of a Dixon set; water is kept."""
    for text in vocabulary.texts_of(series.acquisition):
        found = tokens(text)
        for word, following in pairwise((*found, "")):
            if word == "fat" and following not in vocabulary.FAT_IMAGE_FOLLOWERS:
                return "the fat image of a Dixon set by its description"
        if {"inphase", "outphase", "opposedphase"} & set(found) or (
            "phase" in found and vocabulary.OPPOSED & set(found)
        ):
            return "an in-phase or opposed-phase image by its description"
        if vocabulary.dixon_words(found) & (vocabulary.OPPOSED | {"f"}):
            return "a part of a Dixon set that is not water by its description"
    return None


def other_region(series: Series) -> str | None:
    """Another part of the body, by its texts, or by BodyPartExamined together with its size.

    A region in the series description precedes the other texts: a study may cover several.
    """
    own = vocabulary.region_words(series.acquisition.series_description)
    about, label = _regions(series)
    own_region = vocabulary.other_region(own)
    if vocabulary.lumbar(own) or (not own_region and vocabulary.lumbar(about | label)):
        return None
    if named := own_region or vocabulary.other_region(about):
        return f"another region: {min(named)}"
    labelled = vocabulary.other_region(label)
    if labelled and _unlike_a_lumbar_stack(series):
        return f"another region: labelled {min(labelled)}, and its size fits"
    return None


def labelled_lumbar(series: Series) -> bool:
    """Whether its texts or BodyPartExamined name the lumbar spine."""
    about, label = _regions(series)
    return bool(vocabulary.lumbar(about | label))


def labelled_elsewhere(series: Series) -> bool:
    """Whether BodyPartExamined names another region; never sufficient on its own."""
    _, label = _regions(series)
    return bool(vocabulary.other_region(label)) and not vocabulary.lumbar(label)


UNUSABLE: Final[tuple[ExclusionRule, ...]] = (
    *(structured_report, not_mr, no_plane, several_planes, one_position, few_slices),
)
"""Rules that precede site rules."""

UNUSABLE_STACKS: Final = frozenset({one_position, few_slices})
"""Rules about series that are there, but whose slices cannot be used."""

PHYSICS: Final[tuple[ExclusionRule, ...]] = (
    *(structured_report, not_mr, no_plane, several_planes, image_type),
    *(echo_planar, gradient_pulse, fluid_alone, coronal, one_position, few_slices),
)
"""Rules based on the type of the objects, their geometry and their acquisition."""

TEXTS: Final[tuple[ExclusionRule, ...]] = (
    *(localiser, reconstruction, myelography, diffusion, gradient_description, dixon_part),
    other_region,
)
"""Rules based on free texts."""

Match = tuple[ExclusionRule, str]


def matching(table: tuple[ExclusionRule, ...], series: Series) -> tuple[Match, ...]:
    """Every rule of a table that excludes a series, with its reason; the first decides."""
    return tuple((rule, reason) for rule in table if (reason := rule(series)) is not None)


def gradient_conflict(series: Series) -> str | None:
    """A spin echo by its pulse sequence that is described as gradient echo."""
    if _spin_echo(series) and _described_as_gradient(series):
        return "described as gradient echo but spin echo by its pulse sequence"
    return None


def _spin_echo(series: Series) -> bool:
    sequence = series.acquisition.scanning_sequence
    return "SE" in sequence and not {"GR", "EP"} & set(sequence)


def _described_as_gradient(series: Series) -> bool:
    words = _description_tokens(series)
    return bool(set(words) & vocabulary.GRADIENT_ECHO) or any(
        (first, third) in vocabulary.GRADIENT_PHRASES
        for first, third in zip(words, words[2:], strict=False)
    )


def _description_tokens(series: Series) -> tuple[str, ...]:
    """The tokens of the series description, else of the protocol name.

    Protocols are often named after their first step or after an earlier sequence.
    """
    return tokens(next(iter(vocabulary.texts_of(series.acquisition)), ""))


def _regions(series: Series) -> tuple[set[str], set[str]]:
    """The tokens of its texts, and those of BodyPartExamined."""
    found = series.acquisition
    texts = (*vocabulary.texts_of(found), found.study_description)
    return set().union(*map(vocabulary.region_words, texts)), vocabulary.region_words(
        found.body_part
    )


def _unlike_a_lumbar_stack(series: Series) -> bool:
    """A sagittal stack wider than a spine (a head), or lower than five levels (a joint)."""
    if not series.slices or series.slices[0].plane.orientation is not Orientation.SAGITTAL:
        return False
    low, high = series.extent_mm
    width, _, height = high - low
    return bool(width > _WIDEST_SPINE_MM or height < _LOWEST_LUMBAR_MM)
