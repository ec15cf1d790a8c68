"""From stored cells to values: where their bits lie, rescale and inversion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_sr.attributes import integer, item, number


class ShiftedBits(ValueError):
    """High Bit contradicts Bits Stored, and the pixels fit neither (PS3.5 8.1.1)."""


class ImpossibleRescale(ValueError):
    """Rescale slope or intercept that are malformed, zero, or give values that are not finite."""


@dataclass(frozen=True)
class ContradictedBits:
    """Bits Stored and High Bit of a header in which they contradict each other."""

    bits: int
    high: int
    signed: bool

    def settle(self, cells: NDArray[np.generic]) -> NDArray[np.int64]:
        """Stored values in the lowest bits, whatever the header says; `cells` are whole cells.

        Cells whose lower bits are all zero are shifted down; values that fit into the smaller of
        both sizes stay. Raises ShiftedBits where neither holds.
        """
        shift, width = self.high - self.bits + 1, 8 * cells.itemsize
        values: NDArray[np.int64] = cells.astype(np.int64)
        if shift > 0 and self.high < width and values.any() and not (values % 2**shift).any():
            return values >> shift
        size = min(self.bits, self.high + 1)
        if not 0 < size <= width:
            raise ShiftedBits
        half = 2 ** (size - 1) if self.signed else 2**size
        if values.max() < half and values.min() >= (-half if self.signed else 0):
            return values
        unsigned = values & (2**width - 1)
        if self.signed and unsigned.max() < 2**size:
            extended: NDArray[np.int64] = unsigned - 2**size * (unsigned >= half)
            return extended
        raise ShiftedBits


def contradicted_bits(dataset: Dataset) -> ContradictedBits | None:
    """What a header says where High Bit is not one less than Bits Stored (PS3.5 8.1.1)."""
    bits, high = integer(dataset, "BitsStored"), integer(dataset, "HighBit")
    if bits is None or high is None or high == bits - 1:
        return None
    return ContradictedBits(bits, high, integer(dataset, "PixelRepresentation") == 1)


def rescale(dataset: Dataset, index: int) -> tuple[float, float]:
    """Slope and intercept of one frame; 1 and 0 where they are absent."""
    own = item(dataset, "PerFrameFunctionalGroupsSequence", index)
    for group in (own, item(dataset, "SharedFunctionalGroupsSequence")):
        transformation = item(group, "PixelValueTransformationSequence")
        if not _is_empty(transformation, "RescaleSlope"):
            return _slope_and_intercept(transformation)
    return _slope_and_intercept(dataset)


def _slope_and_intercept(dataset: Dataset) -> tuple[float, float]:
    slope = _factor(dataset, "RescaleSlope", default=1.0)
    intercept = _factor(dataset, "RescaleIntercept", default=0.0)
    if slope == 0:
        raise ImpossibleRescale
    return slope, intercept


def _factor(dataset: Dataset, keyword: str, default: float) -> float:
    """A number that may be absent; one that is malformed does not count as absent."""
    if _is_empty(dataset, keyword):
        return default
    if (value := number(dataset, keyword)) is None:
        raise ImpossibleRescale
    return value


def _is_empty(dataset: Dataset, keyword: str) -> bool:
    """Whether an attribute is absent or has no value, without parsing the value."""
    if keyword not in dataset:
        return True
    value = dataset.get_item(keyword).value
    return value is None or (isinstance(value, bytes | str) and not value.strip())


def inverted(stored: NDArray[np.float32], dataset: Dataset) -> NDArray[np.float32]:
    """MONOCHROME1 values inverted within their stored range (PS3.3 C.7.6.3.1.2)."""
    bits = integer(dataset, "BitsStored") or 16
    signed = integer(dataset, "PixelRepresentation") == 1
    # Lowest plus highest stored value: 2^n - 1 unsigned, -1 in two's complement.
    return np.float32(-1 if signed else 2**bits - 1) - stored
