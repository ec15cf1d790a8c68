"""Training samples in memory: small 8-bit images with named points or grades.

Points are (column, row) in the sample's own pixels. A point's state is PRESENT, ABSENT
(known not to be on this slice) or UNKNOWN (not annotated: never scored).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from worker.approaches import TwoStage
from worker.domain.crop import Crop
from worker.grade.crop_windows import CropOptions
from worker.localise.heatmaps.options import HeatmapOptions
from worker.models.seam import Approach

PRESENT: Final = 1
ABSENT: Final = 0
UNKNOWN: Final = -1
MISSING: Final = -1


FORMAT: Final = 2
"""Raised when samples that were kept in a file can no longer be read."""


@dataclass(frozen=True)
class SampleOptions:
    """How samples are cut: as the approach that is trained cuts them."""

    crops: CropOptions = field(default_factory=CropOptions)
    heatmaps: HeatmapOptions = field(default_factory=HeatmapOptions)

    @classmethod
    def of(cls, approach: Approach) -> SampleOptions:
        """The options of an approach's stages; the defaults for stages of another kind."""
        stages = (approach.grader, approach.localiser) if isinstance(approach, TwoStage) else ()
        given = [stage.options for stage in stages]
        return cls(
            next((one for one in given if isinstance(one, CropOptions)), CropOptions()),
            next((one for one in given if isinstance(one, HeatmapOptions)), HeatmapOptions()),
        )

    @property
    def digest(self) -> str:
        """A short hash of the options and of the format of kept samples."""
        content = f"{FORMAT} {self.crops.model_dump_json()} {self.heatmaps.model_dump_json()}"
        return hashlib.sha256(content.encode()).hexdigest()[:8]


DEFAULT_OPTIONS: Final = SampleOptions()


@dataclass(frozen=True, eq=False)
class PointSet:
    """Images (n, rows, columns) uint8, points (n, heads, 2), states (n, heads), per sample.

    `heads` names the points; `shares` is how often a sample is drawn, relative to the others.
    """

    heads: tuple[str, ...]
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
            self.heads,
            self.images[chosen],
            self.points[chosen],
            self.states[chosen],
            _choose(self.studies, chosen),
            self.shares[chosen],
        )


@dataclass(frozen=True, eq=False)
class GradeSet:
    """Images (n, slices, rows, columns) uint8 and labels (n, heads) 0..2 or MISSING.

    `heads` names the labels.
    """

    heads: tuple[str, ...]
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
            self.heads,
            self.images[chosen],
            self.labels[chosen],
            _choose(self.studies, chosen),
            self.shares[chosen],
        )


Set = TypeVar("Set", PointSet, GradeSet)


def point_set(
    heads: Sequence[str],
    images: Sequence[NDArray[np.uint8]],
    points: Sequence[NDArray[np.float32]],
    states: Sequence[NDArray[np.int8]],
    studies: Sequence[str],
) -> PointSet:
    """A set of samples that are all drawn equally often."""
    return PointSet(
        tuple(heads),
        np.stack(images),
        np.stack(points).astype(np.float32),
        np.stack(states),
        tuple(studies),
        np.ones(len(images), dtype=np.float32),
    )


def grade_set(
    heads: Sequence[str],
    images: Sequence[NDArray[np.uint8]],
    labels: Sequence[Sequence[int]],
    studies: Sequence[str],
) -> GradeSet:
    """A set of samples that are all drawn equally often."""
    return GradeSet(
        tuple(heads),
        np.stack(images),
        np.array(labels, dtype=np.int8),
        tuple(studies),
        np.ones(len(images), dtype=np.float32),
    )


def join(sets: Sequence[Set]) -> Set:
    """All samples of several sets of the same kind, heads and shape."""
    heads = {one.heads for one in sets}
    if len(heads) != 1:
        raise ValueError(f"samples with different heads cannot be joined: {sorted(heads)}")
    parts = {field.name: [getattr(one, field.name) for one in sets] for field in fields(sets[0])}
    joined: dict[str, Any] = {
        name: tuple(itertools.chain(*part)) if name == "studies" else np.concatenate(part)
        for name, part in parts.items()
        if name != "heads"
    }
    return type(sets[0])(heads=heads.pop(), **joined)


def to_grey(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Scale an image to 8 bits, its brightest half percent saturated."""
    return _scaled(pixels, pixels)


def to_greys(slices: Sequence[Crop]) -> NDArray[np.uint8]:
    """Neighbouring slices as (slices, rows, columns), all scaled as the middle one."""
    middle = slices[len(slices) // 2].pixels
    return np.stack([_scaled(crop.pixels, middle) for crop in slices])


def _scaled(pixels: NDArray[np.float32], by: NDArray[np.float32]) -> NDArray[np.uint8]:
    top = float(np.percentile(by, 99.5)) or 1.0
    grey: NDArray[np.uint8] = np.clip(pixels / top * 255, 0, 255).astype(np.uint8)
    return grey


def _choose(studies: Sequence[str], chosen: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(study for study, keep in zip(studies, chosen, strict=True) if keep)
