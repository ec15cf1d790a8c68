"""Interprets Image Type (DICOM PS3.3 C.7.6.1.1.2, C.8.3.1.1.1, C.8.16.1)."""

from __future__ import annotations

from typing import Final

ImageType = tuple[str, ...]
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
    "MOSAIC": "a mosaic of slices",
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


def unusable(image_type: ImageType) -> str | None:
    """Why images of this type cannot be graded; None where they can.

    A derived image that is still primary is usable: denoised or distortion-corrected.
    """
    for value in image_type:
        if value in _UNUSABLE:
            return f"{_UNUSABLE[value]} by its image type"
        if value.endswith("MAP"):
            return "a parameter map by its image type"
    if image_type[:1] == ("DERIVED",) and not water(image_type):
        return None if image_type[1:2] == ("PRIMARY",) else "derived from other images"
    return None


def water(image_type: ImageType) -> bool:
    """Whether this is the water image of a Dixon set."""
    return not _WATER.isdisjoint(image_type)


def processed(image_type: ImageType) -> str | None:
    """A primary image that was denoised or corrected after acquisition; it is still usable."""
    if image_type[:2] == ("DERIVED", "PRIMARY") and not water(image_type):
        return "processed after it was acquired, by its image type"
    return None
