"""What ImageType says that an image is (DICOM PS3.3 C.7.6.1.1.2, C.8.3.1.1.1, C.8.16.1)."""

from __future__ import annotations

from typing import Final

Kinds = tuple[str, ...]
"""The values of ImageType or, of one frame, of FrameType, in upper case."""

_UNUSABLE: Final = {
    "LOCALIZER": "a localiser",
    "PROJECTION IMAGE": "a projection",
    "MIP": "a projection",
    "MIN_IP": "a projection",
    "MPR": "a reformatted image",
    "REFORMATTED": "a reformatted image",
    "CSA MPR": "a reformatted image",
    "ADC": "a diffusion map",
    "DIFFUSION": "diffusion",
    "TRACEW": "diffusion",
    "FA": "a diffusion map",
    "SUBTRACTION": "a subtraction",
    "SUBTRACT": "a subtraction",
    "SUB": "a subtraction",
    "PERFUSION": "perfusion",
    "MEAN": "computed from several images",
    "ADDITION": "computed from several images",
    "DIVISION": "computed from several images",
    "MAXIMUM": "a projection",
    "MINIMUM": "a projection",
    "STD_DEVIATION": "a parameter map",
    "STDDEV": "a parameter map",
    "SCREEN SAVE": "a screen capture",
    "PHASE MAP": "a phase image",
    "P": "a phase image",
    "M_FFE": "gradient echo",
    "FAT": "the fat image of a Dixon set",
    "F": "the fat image of a Dixon set",
    "FAT_FRACTION": "the fat image of a Dixon set",
    "IN_PHASE": "the in-phase image of a Dixon set",
    "IP": "the in-phase image of a Dixon set",
    "IN": "the in-phase image of a Dixon set",
    "OUT_PHASE": "the opposed-phase image of a Dixon set",
    "OPP_PHASE": "the opposed-phase image of a Dixon set",
    "OP": "the opposed-phase image of a Dixon set",
    "OPP": "the opposed-phase image of a Dixon set",
    "OUT_OF_PHASE": "the opposed-phase image of a Dixon set",
}
_WATER: Final = frozenset({"WATER", "W"})


def unusable(kinds: Kinds) -> str | None:
    """Why no image of these kinds is graded on, None where nothing speaks against it.

    A derived image may be used where it is primary still: denoised, or its distortion corrected.
    """
    for kind in kinds:
        if kind in _UNUSABLE:
            return f"{_UNUSABLE[kind]} by its image type"
        if kind.endswith("MAP"):
            return "a parameter map by its image type"
    if kinds[:1] == ("DERIVED",) and not water(kinds) and kinds[1:2] != ("PRIMARY",):
        return "derived from other images"
    return None


def water(kinds: Kinds) -> bool:
    """Whether they name the water image of a Dixon set."""
    return not _WATER.isdisjoint(kinds)


def processed(kinds: Kinds) -> bool:
    """Whether they name a primary image that is not as it was acquired."""
    return kinds[:2] == ("DERIVED", "PRIMARY") and not water(kinds)
