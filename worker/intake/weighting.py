"""What a series is weighted by: physics first, words second, a conflict flagged.

The thresholds are those of spin echo imaging; gradient echo never comes this far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from worker.domain.study import Acquisition, Evidence
from worker.intake import vocabulary


class Weighting(StrEnum):
    """The contrasts that routing tells apart; the value is what people read."""

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
        """T1, T2 or what else: a conflict is between families."""
        return {
            Weighting.T1: "T1",
            Weighting.CONTRAST_T1: "T1",
            Weighting.FAT_SUPPRESSED_T1: "T1",
            Weighting.T2: "T2",
            Weighting.STIR: "T2",
            Weighting.FAT_SUPPRESSED_T2: "T2",
        }.get(self, self.value)


@dataclass(frozen=True)
class Decision:
    """The weighting decided on, or None, with the reason and any conflict met.

    `physics` and `texts` are what each kind of rule said.
    """

    weighting: Weighting | None
    reason: str
    flags: tuple[str, ...] = ()
    physics: tuple[Evidence, ...] = ()
    texts: tuple[Evidence, ...] = ()


Claim = tuple[Weighting, str]
"""A weighting and why it is believed."""

Rule = Callable[[Acquisition], Claim | None]


def inversion_time(found: Acquisition) -> Claim | None:
    """TI tells STIR, T1 FLAIR and T2 FLAIR apart.

    STIR nulls fat (130 to 220 ms at 1.5 and 3 T), T2 FLAIR fluid (from 1,700 ms up), and T1
    FLAIR lies between, near 800 ms. The limits leave room around these; what lies between
    them is left to the other rules.
    """
    te, tr, ti = found.echo_time_ms, found.repetition_time_ms, found.inversion_time_ms
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


def echo_and_repetition(found: Acquisition) -> Claim | None:
    """TE and TR; an inversion whose time is not told is left to the words."""
    te, tr = found.echo_time_ms, found.repetition_time_ms
    if te is None or _untold_inversion(found):
        return None
    if tr is None:
        return (Weighting.T2, f"by TE {te:.0f} ms") if te >= 80 else None
    reason = f"by TE {te:.0f} ms and TR {tr:.0f} ms"
    if te >= 60 and (tr >= 1500 or (tr >= 900 and found.acquisition_type == "3D")):
        return Weighting.T2, reason
    if te <= 30 and tr <= 1200:
        return Weighting.T1, reason
    if te < 60 and tr >= 1500:
        return Weighting.PROTON_DENSITY, reason
    return None


def description(found: Acquisition) -> Claim | None:
    """What the first text that names a weighting says; nothing where it names both T1 and T2.

    A second text is not asked then: a protocol's name settles no contradiction.
    """
    for text in vocabulary.texts_of(found):
        tokens = vocabulary.tokens(text)
        named, have = vocabulary.t_weightings(tokens), set(tokens)
        reason = "by its description"
        stir = any("stir" in token for token in have)
        if have & vocabulary.PROTON_DENSITY:
            return Weighting.PROTON_DENSITY, reason
        if len(named) > 1 or (stir and named == {1}):
            return None
        if named == {1}:
            return Weighting.T1, reason
        if named and vocabulary.nulls_fluid(tokens):
            return Weighting.FLUID_ATTENUATED, reason
        if stir or have & vocabulary.STIR:
            return Weighting.STIR, reason
        if named:
            return Weighting.T2, reason
    return None


PHYSICS: Final[tuple[Rule, ...]] = (inversion_time, echo_and_repetition)
TEXTS: Final[tuple[Rule, ...]] = (description,)


def weigh(found: Acquisition) -> Decision:
    """Decide the weighting: physics beats words, and a conflict is flagged.

    What the words say must be possible with the physics there is. Fat suppression and
    contrast agent then refine T1 and T2, whoever named these.
    """
    by_physics, physics = _ask(PHYSICS, found)
    by_words, texts = _ask(TEXTS, found)
    decided = by_physics or by_words
    if decided is None:
        reason = "neither its physics nor its description tell the weighting"
        return Decision(None, reason, (), physics, texts)
    if by_physics is None and (contradiction := _impossible(decided[0], found)):
        conflict = f"described as {decided[0]}, which {contradiction} contradicts"
        return Decision(None, conflict, (conflict,), physics, texts)
    flags: tuple[str, ...] = ()
    if by_physics and by_words and by_physics[0].family != by_words[0].family:
        flags = (f"described as {by_words[0]} but {by_physics[0]} {by_physics[1]}",)
    weighting, reason = _refined(decided, by_words, found)
    if weighting is not decided[0]:
        texts += (Evidence("refinement", weighting.value, reason),)
    return Decision(weighting, f"{weighting} {reason}", flags, physics, texts)


def weigh_pixels(seen: Weighting, found: Acquisition) -> Decision:
    """What a weighting seen in the pixels means beside headers that do not tell it.

    It must be possible with the physics there is; contrast agent and fat suppression refine
    it as they do one that is told.
    """
    if contradiction := _impossible(seen, found):
        conflict = f"looks {seen}-weighted, which {contradiction} contradicts"
        return Decision(None, conflict, (conflict,))
    weighting, reason = _refined((seen, "by its pixels"), None, found)
    return Decision(weighting, f"{weighting} {reason}")


def _ask(rules: tuple[Rule, ...], found: Acquisition) -> tuple[Claim | None, tuple[Evidence, ...]]:
    """The first claim of these rules, and all of them as evidence."""
    claims = [(rule.__name__, claim) for rule in rules if (claim := rule(found))]
    first = claims[0][1] if claims else None
    return first, tuple(Evidence(name, claim[0].value, claim[1]) for name, claim in claims)


def _impossible(weighting: Weighting, found: Acquisition) -> str | None:
    """The TE or TR that a weighting known from words alone cannot have."""
    te, tr = found.echo_time_ms, found.repetition_time_ms
    if te is not None and (
        (weighting is Weighting.T1 and te >= 60) or (weighting is Weighting.T2 and te <= 30)
    ):
        return f"TE {te:.0f} ms"
    if weighting is Weighting.STIR and tr is not None and tr < 1200:
        return f"TR {tr:.0f} ms"
    return None


def _refined(decided: Claim, by_words: Claim | None, found: Acquisition) -> Claim:
    weighting, reason = decided
    suppressed = _fat_suppressed(found)
    if weighting is Weighting.T1:
        if found.contrast_agent:
            return Weighting.CONTRAST_T1, "by its contrast agent"
        if any(vocabulary.names_contrast(text) for text in vocabulary.texts_of(found)):
            return Weighting.CONTRAST_T1, "by its description"
        if suppressed:
            return Weighting.FAT_SUPPRESSED_T1, f"by its {suppressed}"
    if weighting is Weighting.T2:
        if by_words is not None and by_words[0] is Weighting.STIR:
            return Weighting.STIR, f"{reason} and its description"
        if suppressed:
            return Weighting.FAT_SUPPRESSED_T2, f"{reason}, fat suppression by its {suppressed}"
    return decided


def _untold_inversion(found: Acquisition) -> bool:
    if found.inversion_time_ms is not None:
        return False
    if "IR" in found.scanning_sequence:
        return True
    if "SE" in found.scanning_sequence and (found.repetition_time_ms or 1500) < 1500:
        return False  # no inversion recovery is as quick as that, whatever it is called
    said = {word for text in vocabulary.texts_of(found) for word in vocabulary.tokens(text)}
    return bool(said & vocabulary.STIR or any("flair" in word for word in said))


def _fat_suppressed(found: Acquisition) -> str | None:
    """What tells that fat is suppressed: scan options, description or image type."""
    if "FS" in found.scan_options:
        return "scan options"
    for text in vocabulary.texts_of(found):
        said = vocabulary.tokens(text)
        if set(said) & vocabulary.FAT_SUPPRESSED or any(w.endswith(("fatsat", "fs")) for w in said):
            return "description"
        if any(a == "fat" and b in vocabulary.FAT_IMAGE_FOLLOWERS for a, b in pairwise(said)):
            return "description"
        if "water" in said or "w" in vocabulary.dixon_parts(said):
            return "description"
    return "image type" if {"WATER", "W"} & set(found.image_type) else None
