"""Training samples in memory: small 8-bit images with named points or grades.

Points are (column, row) in the sample's own pixels. A point's state is PRESENT, ABSENT
(known not to be on this slice) or UNKNOWN (not annotated: never scored).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

PRESENT: Final = 1
ABSENT: Final = 0
UNKNOWN: Final = -1
MISSING: Final = -1


@dataclass(frozen=True, eq=False)
class PointSet:
    """Images (n, rows, columns) uint8, points (n, names, 2), states (n, names), per sample.

    `shares` is how often a sample is drawn, relative to the others.
    """

    images: NDArray[np.uint8]
    points: NDArray[np.float32]
    states: NDArray[np.int8]
    studies: tuple[str, ...]
    shares: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.images)

    def where(self, keep: Callable[[str], bool]) -> PointSet:
        """The samples of the studies that `keep` accepts."""
        chosen = np.array([keep(study) for study in self.studies], dtype=bool)
        return PointSet(
            self.images[chosen],
            self.points[chosen],
            self.states[chosen],
            _choose(self.studies, chosen),
            self.shares[chosen],
        )


@dataclass(frozen=True, eq=False)
class GradeSet:
    """Images (n, rows, columns) uint8 and labels (n, targets) 0..2 or MISSING, per sample."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int8]
    studies: tuple[str, ...]
    shares: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.images)

    def where(self, keep: Callable[[str], bool]) -> GradeSet:
        """The samples of the studies that `keep` accepts."""
        chosen = np.array([keep(study) for study in self.studies], dtype=bool)
        return GradeSet(
            self.images[chosen],
            self.labels[chosen],
            _choose(self.studies, chosen),
            self.shares[chosen],
        )


def point_set(
    images: Sequence[NDArray[np.uint8]],
    points: Sequence[NDArray[np.float32]],
    states: Sequence[NDArray[np.int8]],
    studies: Sequence[str],
) -> PointSet:
    """A set of samples that are all drawn equally often."""
    return PointSet(
        np.stack(images),
        np.stack(points).astype(np.float32),
        np.stack(states),
        tuple(studies),
        np.ones(len(images), dtype=np.float32),
    )


def grade_set(
    images: Sequence[NDArray[np.uint8]], labels: Sequence[Sequence[int]], studies: Sequence[str]
) -> GradeSet:
    """A set of samples that are all drawn equally often."""
    return GradeSet(
        np.stack(images),
        np.array(labels, dtype=np.int8),
        tuple(studies),
        np.ones(len(images), dtype=np.float32),
    )


def join_points(sets: Iterable[PointSet]) -> PointSet:
    """All samples of several sets of the same shape."""
    parts = list(sets)
    return PointSet(
        np.concatenate([p.images for p in parts]),
        np.concatenate([p.points for p in parts]),
        np.concatenate([p.states for p in parts]),
        tuple(study for p in parts for study in p.studies),
        np.concatenate([p.shares for p in parts]),
    )


def join_grades(sets: Iterable[GradeSet]) -> GradeSet:
    """All samples of several sets of the same shape."""
    parts = list(sets)
    return GradeSet(
        np.concatenate([p.images for p in parts]),
        np.concatenate([p.labels for p in parts]),
        tuple(study for p in parts for study in p.studies),
        np.concatenate([p.shares for p in parts]),
    )


def to_grey(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Scale an image to 8 bits, its brightest half percent saturated."""
    top = float(np.percentile(pixels, 99.5)) or 1.0
    grey: NDArray[np.uint8] = np.clip(pixels / top * 255, 0, 255).astype(np.uint8)
    return grey


def _choose(studies: Sequence[str], chosen: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(study for study, keep in zip(studies, chosen, strict=True) if keep)
