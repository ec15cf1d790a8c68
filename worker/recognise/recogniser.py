"""Recognises T2 weighting in one slice: segmentation by a network, decision by thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from worker.domain.crop import Grid
from worker.errors import BundleMismatch
from worker.intake.recognition import Recognition
from worker.intake.weighting import Weighting
from worker.models.card import checked_file
from worker.recognise.contrast import Contrast, measure
from worker.recognise.network import Outlines, outline, view

FOLDER: Final = Path(__file__).parent
WEIGHTS: Final = "weights.safetensors"
SHA256: Final = "fccb5f927766a0b805f7777c6f3c754c8dc0282d0bcd7056f1bb78bafb8c6202"

_REMEDY: Final = "reinstall Orthanc Lumbar"
_CANAL_MM: Final = 100.0
"""The least visible length of the canal; a lateral slice shows only foramina."""
_VERTEBRA_MM2: Final = 2500.0
_FLUID_TO_MARROW: Final = 2.0
_BRIGHTER_ROWS: Final = 0.9
_FLUID_TO_DISCS: Final = 1.5
"""On T2 fluid is the brightest tissue of the spine; on an inverted T1 discs are as bright."""


@dataclass(frozen=True, eq=False)
class SliceRecogniser:
    """Recognises T2 where the canal is much brighter than marrow and discs, and nothing else.

    A dark canal does not prove T1: it also occurs where the segmentation misses the canal of
    a T2, and in inverted images.
    """

    network: Outlines

    def recognise(self, pixels: NDArray[np.float32], grid: Grid) -> Recognition:
        """Recognise one sagittal slice (rows, columns) through the middle of the spine.

        `grid` is in millimetres and gives the orientation of the pixels. The result depends
        neither on a linear scale of the intensities nor on the orientation of storage.
        """
        # Outside of the slice the crop is 0: the darkest pixel must have that value too.
        crop = view(pixels - pixels.min(), grid)
        contrast = measure(crop, outline(self.network, crop[None])[0])
        if contrast is None or not _shows_spine(contrast):
            return Recognition(None, "no canal with lumbar vertebrae found on the middle slice")
        reason = f"fluid/marrow signal ratio {contrast.canal_to_marrow:.1f} on the middle slice"
        return Recognition(Weighting.T2 if _is_t2(contrast) else None, reason)


def _shows_spine(contrast: Contrast) -> bool:
    return contrast.canal_mm >= _CANAL_MM and contrast.vertebra_mm2 >= _VERTEBRA_MM2


def _is_t2(contrast: Contrast) -> bool:
    return (
        contrast.canal_to_marrow >= _FLUID_TO_MARROW
        and contrast.brighter >= _BRIGHTER_ROWS
        # Discs that were not found may be as bright as the assumed fluid.
        and contrast.disc_to_marrow is not None
        and contrast.canal_to_marrow >= _FLUID_TO_DISCS * contrast.disc_to_marrow
    )


@cache
def packaged() -> SliceRecogniser:
    """The recogniser of this package, loaded once."""
    return load_recogniser(FOLDER)


def load_recogniser(folder: Path, sha256: str = SHA256) -> SliceRecogniser:
    """Load the weights in a folder.

    Raises `BundleMissing` where they are missing, `BundleMismatch` where their hash differs
    or their tensors do not match the network.
    """
    path = checked_file(folder, WEIGHTS, sha256, _REMEDY)
    network = Outlines()
    try:
        network.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    except (RuntimeError, SafetensorError) as error:
        raise BundleMismatch(f"{path} does not match the recogniser: {_REMEDY}") from error
    return SliceRecogniser(network.eval().to(memory_format=torch.channels_last))
