"""What a series is weighted by: physics first, words second, a conflict flagged.

The thresholds are those of spin echo imaging; gradient echo never comes this far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from worker.intake import words
from worker.nouns.study import Acquisition


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
class Evidence:
    """A weighting and why it is believed."""

    weighting: Weighting
    reason: str


@dataclass(frozen=True)
class Decision:
    """The weighting decided on, or None, with the reason and any conflict met."""

    weighting: Weighting | None
    reason: str
    flags: tuple[str, ...] = ()


Rule = Callable[[Acquisition], Evidence | None]


def inversion(found: Acquisition) -> Evidence | None:
    """TI tells STIR, T1 FLAIR and T2 FLAIR apart."""
    ti, tr = found.inversion_time_ms, found.repetition_time_ms
    if ti is None:
        return None
    reason = f"by TI {ti:.0f} ms"
    if 80 <= ti <= 250 and (tr is None or tr >= 1500):
        return Evidence(Weighting.STIR, reason)
    if 600 <= ti <= 1100 and (found.echo_time_ms is None or found.echo_time_ms <= 50):
        return Evidence(Weighting.T1, reason)
    if ti > 1500:
        return Evidence(Weighting.FLUID_ATTENUATED, reason)
    return None


def echo_and_repetition(found: Acquisition) -> Evidence | None:
    """TE and TR; an inversion whose time is not told is left to the words."""
    te, tr = found.echo_time_ms, found.repetition_time_ms
    if te is None or tr is None or _untold_inversion(found):
        return None
    reason = f"by TE {te:.0f} ms and TR {tr:.0f} ms"
    if te >= 60 and (tr >= 1500 or (tr >= 900 and found.acquisition_type == "3D")):
        return Evidence(Weighting.T2, reason)
    if te <= 30 and tr <= 1200:
        return Evidence(Weighting.T1, reason)
    if te < 60 and tr >= 1500:
        return Evidence(Weighting.PROTON_DENSITY, reason)
    return None


PHYSICS: Final[tuple[Rule, ...]] = (inversion, echo_and_repetition)


def by_words(found: Acquisition) -> Evidence | None:
    """The first text that names exactly one weighting."""
    for text in words.texts_of(found):
        tokens = words.tokens(text)
        named, have = words.t_weightings(tokens), set(tokens)
        reason = "by its description"
        if have & words.PROTON_DENSITY:
            return Evidence(Weighting.PROTON_DENSITY, reason)
        if any(part in token for token in have for part in ("stir", "tirm")) or have & words.STIR:
            return Evidence(Weighting.STIR, reason)
        if len(named) == 1:
            if named == {1}:
                return Evidence(Weighting.T1, reason)
            fluid = "flair" in have and "flair" not in found.body_part.lower()
            return Evidence(Weighting.FLUID_ATTENUATED if fluid else Weighting.T2, reason)
        if len(named) > 1:
            return None
    return None


def weigh(found: Acquisition) -> Decision:
    """Decide the weighting: physics beats words, and a conflict is flagged.

    Fat suppression and contrast agent then refine T1 and T2, whoever named these.
    """
    physics = next(filter(None, (rule(found) for rule in PHYSICS)), None)
    words_say = by_words(found)
    decided = physics or words_say
    if decided is None:
        return Decision(None, "neither its physics nor its description tell the weighting")
    flags: tuple[str, ...] = ()
    if physics and words_say and physics.weighting.family != words_say.weighting.family:
        flags = (f"described as {words_say.weighting} but {physics.weighting} {physics.reason}",)
    weighting, reason = _refined(decided, words_say, found)
    return Decision(weighting, f"{weighting} {reason}", flags)


def _refined(
    decided: Evidence, words_say: Evidence | None, found: Acquisition
) -> tuple[Weighting, str]:
    if decided.weighting is Weighting.T1:
        if found.contrast_agent:
            return Weighting.CONTRAST_T1, "by its contrast agent"
        if any(words.names_contrast(text) for text in words.texts_of(found)):
            return Weighting.CONTRAST_T1, "by its description"
        if _fat_suppressed(found):
            return Weighting.FAT_SUPPRESSED_T1, "by its description"
    if decided.weighting is Weighting.T2:
        if words_say is not None and words_say.weighting is Weighting.STIR:
            return Weighting.STIR, f"{decided.reason} and its description"
        if _fat_suppressed(found):
            return Weighting.FAT_SUPPRESSED_T2, f"{decided.reason}, fat suppression by description"
    return decided.weighting, decided.reason


def _untold_inversion(found: Acquisition) -> bool:
    if found.inversion_time_ms is not None:
        return False
    said = {word for text in words.texts_of(found) for word in words.tokens(text)}
    return "IR" in found.scanning_sequence or bool(
        said & words.STIR or any("flair" in word for word in said)
    )


def _fat_suppressed(found: Acquisition) -> bool:
    for text in words.texts_of(found):
        said = words.tokens(text)
        if set(said) & words.FAT_SUPPRESSED or any(w.endswith(("fatsat", "fs")) for w in said):
            return True
        if any(a == "fat" and b in words.FAT_IMAGE_FOLLOWERS for a, b in pairwise(said)):
            return True
        if "water" in said or (set(said) & words.DIXON and said[-1] == "w"):
            return True
    return bool({"WATER", "W"} & set(found.image_type))
