"""What a model says about one target, before calibration and before any decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import ImagePoint, ImageReference, Probabilities

SEVERITY_WEIGHTS: Final = (1.0, 2.0, 4.0)
"""Sample weights of Normal/Mild, Moderate and Severe in the RSNA 2024 challenge's score."""


@dataclass(frozen=True)
class Prediction:
    """The answer of an approach for one target.

    `probabilities` are posteriors that are not calibrated yet. `point` is what a viewer shows,
    `graded_on` the image that was graded; the two differ for the canal, which is graded on an
    axial slice and shown on a sagittal one. `confidence` (0..1) is the probability that the
    point shows this level and structure.
    """

    probabilities: Probabilities
    point: ImagePoint
    graded_on: ImageReference
    confidence: float


@dataclass(frozen=True, eq=False)
class HeatMap:
    """How much each pixel of one image contributed to a grade.

    `values` has the image's shape (rows, columns), in 0..1.
    """

    image: ImageReference
    values: NDArray[np.float32]
