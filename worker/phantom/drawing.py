"""Drawing primitives: signed distances become coverage, coverage blends signals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from worker.phantom.randomness import stream

Pixels = NDArray[np.floating[Any]]
"""Values of pixels, any shape."""

_PERIOD = 64


def cover(distance_mm: Pixels, soft_mm: float = 1.0) -> Pixels:
    """Coverage from 1 inside (negative distance) to 0 outside, over `soft_mm` (partial volume)."""
    coverage: Pixels = np.clip(0.5 - distance_mm / np.float32(soft_mm), 0, 1)
    return coverage


def blend(image: Pixels, coverage: Pixels, value: Pixels | float) -> None:
    """Blend a signal into the image, in place."""
    image += coverage * (value - image)


def bone(image: Pixels, distance_mm: Pixels, cortex: float, marrow: Pixels | float) -> None:
    """Draw a bone, in place: a dark rim of 0.9 mm, marrow inside."""
    blend(image, cover(distance_mm, 1.0), cortex)
    blend(image, cover(distance_mm + 0.9, 1.6), marrow)


def segment_distance(
    a: Pixels,
    b: Pixels,
    start: tuple[Pixels | float, Pixels | float],
    end: tuple[Pixels | float, Pixels | float],
) -> Pixels:
    """Distance of points (a, b) from a line segment in their plane."""
    da, db = end[0] - start[0], end[1] - start[1]
    t = np.clip(((a - start[0]) * da + (b - start[1]) * db) / (da * da + db * db), 0, 1)
    distance: Pixels = np.hypot(a - start[0] - t * da, b - start[1] - t * db)
    return distance


def double(half: Pixels) -> Pixels:
    """Bilinear enlargement (rows, columns) -> (2 rows, 2 columns), aligned by pixel areas."""
    for axis in (0, 1):
        half = np.moveaxis(half, axis, 0)
        before = np.concatenate([2 * half[:1] - half[1:2], half[:-1]])
        after = np.concatenate([half[1:], 2 * half[-1:] - half[-2:-1]])
        full = np.empty((2 * len(half), *half.shape[1:]), np.float32)
        full[0::2] = 0.75 * half + 0.25 * before
        full[1::2] = 0.75 * half + 0.25 * after
        half = np.moveaxis(full, 0, axis)
    return np.ascontiguousarray(half)


@dataclass(frozen=True, eq=False)
class Texture:
    """Smooth periodic noise in space, mean 0 and deviation 1, nearest-neighbour lookup."""

    table: NDArray[np.float32]
    grain_mm: float

    @classmethod
    def draw(cls, seed: int, name: str, grain_mm: float, smooth: float) -> Texture:
        """Generate the texture of a seed and a name."""
        noise = stream(seed, "texture", name).standard_normal((_PERIOD,) * 3, dtype=np.float32)
        noise = ndimage.gaussian_filter(noise, smooth, mode="wrap")
        return cls((noise / noise.std()).ravel(), grain_mm)

    def at(self, a: Pixels, b: Pixels, c: Pixels, stretch: float = 1.0) -> Pixels:
        """The noise at (a, b, c) in mm; `stretch` elongates it along c."""
        scale = np.float32(1 / self.grain_mm)
        mask = _PERIOD - 1
        i = np.floor(a * scale).astype(np.int32) & mask
        j = np.floor(b * scale).astype(np.int32) & mask
        k = np.floor(c * np.float32(scale / stretch)).astype(np.int32) & mask
        noise: Pixels = self.table[(i * _PERIOD + j) * _PERIOD + k]
        return noise
