"""One slice in, T2 or nothing out: outlines by the network, the verdict by physics."""

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

_MEND: Final = "reinstall Orthanc Lumbar"
_CANAL_MM: Final = 100.0
"""So much of the canal must be seen: a slice beside it shows a foramen or two."""
_VERTEBRA_MM2: Final = 2500.0
_FLUID_TO_MARROW: Final = 2.0
_BRIGHTER_ROWS: Final = 0.9
_FLUID_TO_DISCS: Final = 1.5
"""On T2 nothing in the spine is as bright as its fluid; in an inverted T1 discs are."""


@dataclass(frozen=True, eq=False)
class SliceRecogniser:
    """Knows a T2 when the canal is far brighter than marrow and discs; says nothing else.

    A dark canal does not make a T1: where outlines miss the canal of a T2, and in inverted
    images, there is one too.
    """

    network: Outlines

    def look(self, pixels: NDArray[np.float32], grid: Grid) -> Recognition:
        """Look at one sagittal slice (rows, columns) through the middle of the spine.

        `grid` is in millimetres and says which way the pixels run. The result does not
        change with a linear scale of the intensities, nor with the way a slice is stored.
        """
        # What lies outside the slice is 0 in the crop, and must be as dark as its darkest.
        crop = view(pixels - pixels.min(), grid)
        found = measure(crop, outline(self.network, crop[None])[0])
        if found is None or found.canal_mm < _CANAL_MM or found.vertebra_mm2 < _VERTEBRA_MM2:
            return Recognition(None, "no canal behind lumbar bodies on its middle slice")
        shown = f"fluid {found.canal_to_marrow:.1f} times as bright as marrow on its middle slice"
        return Recognition(Weighting.T2 if _is_t2(found) else None, shown)


def _is_t2(found: Contrast) -> bool:
    return (
        found.canal_to_marrow >= _FLUID_TO_MARROW
        and found.brighter >= _BRIGHTER_ROWS
        # Unseen discs may be as bright as what is taken for fluid.
        and found.disc_to_marrow is not None
        and found.canal_to_marrow >= _FLUID_TO_DISCS * found.disc_to_marrow
    )


@cache
def packaged() -> SliceRecogniser:
    """The recogniser that ships, loaded once."""
    return load_recogniser(FOLDER)


def load_recogniser(folder: Path, sha256: str = SHA256) -> SliceRecogniser:
    """Load the weights in a folder.

    Raises `BundleMissing` where they are not there, `BundleMismatch` when their hash is
    another or their tensors do not fit.
    """
    path = checked_file(folder, WEIGHTS, sha256, _MEND)
    network = Outlines()
    try:
        network.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    except (RuntimeError, SafetensorError) as error:
        raise BundleMismatch(f"{path} does not fit the recogniser: {_MEND}") from error
    return SliceRecogniser(network.eval().to(memory_format=torch.channels_last))
