"""The weighting of a series: physics first, texts second, a conflict is flagged.

The thresholds are those of spin echo imaging; gradient echo is excluded by `rules`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from worker.domain.study import Acquisition, Evidence
from worker.intake import vocabulary
from worker.intake.contrast import names_contrast
from worker.intake.tokens import tokens


class Weighting(StrEnum):
    """The weightings that routing distinguishes; the value is used in messages."""

    T1 = "T1"
    T2 = "T2"
    STIR = "STIR"
    FAT_SUPPRESSED_T2 = "fat-suppressed T2"
    FAT_SUPPRESSED_T1 = "fat-suppressed T1"
    CONTRAST_T1 = "T1 after contrast"
    PROTON_DENSITY = "proton density"
    FLUID_ATTENUATED = "fluid-attenuated T2"

    @property
    def family(self) -> str:
        """T1, T2 or the weighting itself; only different families are a conflict."""
        return {
            Weighting.T1: "T1",
            Weighting.CONTRAST_T1: "T1",
            Weighting.FAT_SUPPRESSED_T1: "T1",
            Weighting.T2: "T2",
            Weighting.STIR: "T2",
            Weighting.FAT_SUPPRESSED_T2: "T2",
        }.get(self, self.value)


@dataclass(frozen=True)
class WeightingDecision:
    """A weighting, or None, with the reason and any conflict.

    `physics` and `texts` hold the evidence of each kind of rule.
    """

    weighting: Weighting | None
    reason: str
    flags: tuple[str, ...] = ()
    physics: tuple[Evidence, ...] = ()
    texts: tuple[Evidence, ...] = ()


Claim = tuple[Weighting, str]
"""A weighting and its reason."""

WeightingRule = Callable[[Acquisition], Claim | None]


def inversion_time(acquisition: Acquisition) -> Claim | None:
    """TI distinguishes STIR, T1 FLAIR and T2 FLAIR.

    STIR nulls fat (130 to 220 ms at 1.5 and 3 T), T2 FLAIR fluid (from 1,700 ms up), and T1
    FLAIR lies between, near 800 ms. The limits leave a margin around these; values in
    between are left to the other rules.
    """
    te, tr, ti = (
        acquisition.echo_time_ms,
        acquisition.repetition_time_ms,
        acquisition.inversion_time_ms,
    )
    if ti is None:
        return None
    reason = f"by TI {ti:.0f} ms"
    if 80 <= ti <= 250 and (tr is None or tr >= 1500):
        return Weighting.STIR, reason
    if 400 <= ti <= 1300 and (te is None or te <= 50):
        return Weighting.T1, reason
    if ti > 1500:
        return Weighting.FLUID_ATTENUATED, reason
    return None


def echo_and_repetition(acquisition: Acquisition) -> Claim | None:
    """TE and TR; an inversion recovery without TI is left to the texts."""
    te, tr = acquisition.echo_time_ms, acquisition.repetition_time_ms
    if te is None or _inversion_without_ti(acquisition):
        return None
    if tr is None:
        return (Weighting.T2, f"by TE {te:.0f} ms") if te >= 80 else None
    reason = f"by TE {te:.0f} ms and TR {tr:.0f} ms"
    if te >= 60 and (tr >= 1500 or (tr >= 900 and acquisition.acquisition_type == "3D")):
        return Weighting.T2, reason
    if te <= 30 and tr <= 1200:
        return Weighting.T1, reason
    if te < 60 and tr >= 1500:
        return Weighting.PROTON_DENSITY, reason
    return None


def description(acquisition: Acquisition) -> Claim | None:
    """The weighting in the first text that names one; None where it names both T1 and T2.

    The next text is not read then: a protocol name does not resolve a contradiction.
    """
    for text in vocabulary.texts_of(acquisition):
        words = tokens(text)
        named, present = vocabulary.t_weightings(words), set(words)
        reason = "by its description"
        stir = any("stir" in token for token in present)
        if present & vocabulary.PROTON_DENSITY:
            return Weighting.PROTON_DENSITY, reason
        if len(named) > 1 or (stir and named == {1}):
            return None
        if named == {1}:
            return Weighting.T1, reason
        if named and vocabulary.nulls_fluid(words):
            return Weighting.FLUID_ATTENUATED, reason
        if stir or present & vocabulary.STIR:
            return Weighting.STIR, reason
        if named:
            return Weighting.T2, reason
    return None


PHYSICS: Final[tuple[WeightingRule, ...]] = (inversion_time, echo_and_repetition)
TEXTS: Final[tuple[WeightingRule, ...]] = (description,)


def decide_weighting(acquisition: Acquisition) -> WeightingDecision:
    """Decide the weighting: physics precedes texts, and a conflict is flagged.

    A weighting from texts must be possible with the known physics. Fat suppression and
    contrast agent then refine T1 and T2.
    """
    by_physics, physics = _evaluate(PHYSICS, acquisition)
    by_text, texts = _evaluate(TEXTS, acquisition)
    decided = by_physics or by_text
    if decided is None:
        reason = "neither physics nor description determine the weighting"
        return WeightingDecision(None, reason, (), physics, texts)
    if by_physics is None and (contradiction := _impossible(decided[0], acquisition)):
        conflict = f"described as {decided[0]}, contradicted by {contradiction}"
        return WeightingDecision(None, conflict, (conflict,), physics, texts)
    flags: tuple[str, ...] = ()
    if by_physics and by_text and by_physics[0].family != by_text[0].family:
        flags = (f"described as {by_text[0]} but {by_physics[0]} {by_physics[1]}",)
    weighting, reason = _refined(decided, by_text, acquisition)
    if weighting is not decided[0]:
        texts += (Evidence("refinement", weighting.value, reason),)
    return WeightingDecision(weighting, f"{weighting} {reason}", flags, physics, texts)


def weighting_from_pixels(recognised: Weighting, acquisition: Acquisition) -> WeightingDecision:
    """The weighting of a series whose headers do not determine it, recognised in its pixels.

    It must be possible with the known physics; contrast agent and fat suppression refine it.
    """
    if contradiction := _impossible(recognised, acquisition):
        conflict = f"pixels are {recognised}-weighted, contradicted by {contradiction}"
        return WeightingDecision(None, conflict, (conflict,))
    weighting, reason = _refined((recognised, "by its pixels"), None, acquisition)
    return WeightingDecision(weighting, f"{weighting} {reason}")


def _evaluate(
    rules: tuple[WeightingRule, ...], acquisition: Acquisition
) -> tuple[Claim | None, tuple[Evidence, ...]]:
    """The first claim of these rules, and all of them as evidence."""
    claims = [(rule.__name__, claim) for rule in rules if (claim := rule(acquisition))]
    first = claims[0][1] if claims else None
    return first, tuple(Evidence(name, claim[0].value, claim[1]) for name, claim in claims)


def _impossible(weighting: Weighting, acquisition: Acquisition) -> str | None:
    """The TE or TR that contradicts a weighting, as text; None where neither does."""
    te, tr = acquisition.echo_time_ms, acquisition.repetition_time_ms
    if te is not None and (
        (weighting is Weighting.T1 and te >= 60) or (weighting is Weighting.T2 and te <= 30)
    ):
        return f"TE {te:.0f} ms"
    if weighting is Weighting.STIR and tr is not None and tr < 1200:
        return f"TR {tr:.0f} ms"
    return None


def _refined(decided: Claim, by_text: Claim | None, acquisition: Acquisition) -> Claim:
    weighting, reason = decided
    suppressed = _fat_suppressed(acquisition)
    if weighting is Weighting.T1:
        if acquisition.contrast_agent:
            return Weighting.CONTRAST_T1, "by its contrast agent"
        if any(names_contrast(text) for text in vocabulary.texts_of(acquisition)):
            return Weighting.CONTRAST_T1, "by its description"
        if suppressed:
            return Weighting.FAT_SUPPRESSED_T1, f"by its {suppressed}"
    if weighting is Weighting.T2:
        if by_text is not None and by_text[0] is Weighting.STIR:
            return Weighting.STIR, f"{reason} and its description"
        if suppressed:
            return Weighting.FAT_SUPPRESSED_T2, f"{reason}, fat suppression by its {suppressed}"
    return decided


def _inversion_without_ti(acquisition: Acquisition) -> bool:
    if acquisition.inversion_time_ms is not None:
        return False
    if "IR" in acquisition.scanning_sequence:
        return True
    if "SE" in acquisition.scanning_sequence and (acquisition.repetition_time_ms or 1500) < 1500:
        return False  # too short for an inversion recovery, whatever the name
    words = {word for text in vocabulary.texts_of(acquisition) for word in tokens(text)}
    return bool(words & vocabulary.STIR or any("flair" in word for word in words))


def _fat_suppressed(acquisition: Acquisition) -> str | None:
    """The source that shows fat suppression: scan options, description or image type."""
    if "FS" in acquisition.scan_options:
        return "scan options"
    for text in vocabulary.texts_of(acquisition):
        words = tokens(text)
        if set(words) & vocabulary.FAT_SUPPRESSED or any(
            word.endswith(("fatsat", "fs")) for word in words
        ):
            return "description"
        if any(a == "fat" and b in vocabulary.FAT_IMAGE_FOLLOWERS for a, b in pairwise(words)):
            return "description"
        if "water" in words or "w" in vocabulary.dixon_words(words):
            return "description"
    return "image type" if {"WATER", "W"} & set(acquisition.image_type) else None
