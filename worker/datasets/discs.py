"""Sagittal T2 slices with masks (SPIDER), and disc points computed from the masks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from dicom_sr.findings import Level
from worker.datasets.tables import LeftOut, Table, file_of, read_index

DISC_GREY: Final = 29
VERTEBRA_GREY: Final = 76
CANAL_GREY: Final = 150
SMALLEST_DISC_PX: Final = 60


class MaskKind(StrEnum):
    """A structure that a mask may show."""

    VERTEBRA = "vertebra"
    DISC = "disc"
    CANAL = "canal"


@dataclass(frozen=True)
class MaskedSlice:
    """A sagittal T2 picture, its mask, and the structures that the mask shows."""

    study_id: str
    path: Path
    mask: Path
    kinds: frozenset[MaskKind] = frozenset(MaskKind)


@dataclass(frozen=True)
class DiscPoint:
    """A disc's centroid and the middle of the canal behind it, (column, row) in pixels.

    `canal` is None where the mask shows no canal behind the disc, because the slice is off
    the midline there.
    """

    level: Level
    disc: tuple[float, float]
    canal: tuple[float, float] | None


def read_masked_slices(
    folder: Path, needing: Collection[MaskKind] = (MaskKind.DISC,)
) -> Table[MaskedSlice]:
    """Read the index of a folder; masks that lack a structure of `needing` are left out.

    Raises BadSettings where the index is missing.
    """

    def parse(record: Mapping[str, str]) -> MaskedSlice | LeftOut:
        # "vertebra, disc and canal as separate grey values" or "vertebral bodies only"
        classes = record["mask_classes"].replace("vertebral", "vertebra")
        kinds = frozenset(kind for kind in MaskKind if kind in classes)
        if not kinds:
            raise ValueError(f"unknown mask classes {record['mask_classes']!r}")
        picture, mask = file_of(folder, record), file_of(folder, record, "mask")
        if not kinds.issuperset(needing):
            return LeftOut("whose mask lacks a structure")
        return MaskedSlice(record["study_id"], picture, mask, kinds)

    columns = ("study_id", "file", "mask", "mask_classes")
    return read_index(folder, "sagittal T2 slices with masks", columns, parse)


def disc_points(mask_file: Path) -> tuple[DiscPoint, ...]:
    """The five lowest discs of a mask, counted upward: the lowest is L5/S1.

    Empty when the mask shows fewer than five discs, because levels would be a guess.
    """
    with Image.open(mask_file) as image:
        mask = np.asarray(image.convert("L"))
    labels, count = ndimage.label(mask == DISC_GREY)
    discs = [np.argwhere(labels == n) for n in range(1, count + 1)]
    discs = [disc for disc in discs if len(disc) >= SMALLEST_DISC_PX]
    discs.sort(key=lambda disc: -float(disc[:, 0].mean()))
    if len(discs) < len(Level):
        return ()
    canal = np.argwhere(mask == CANAL_GREY).astype(np.float64)
    return tuple(
        DiscPoint(level, _xy(disc.mean(axis=0)), _canal_behind(disc.astype(np.float64), canal))
        for level, disc in zip(reversed(Level), discs, strict=False)
    )


def _canal_behind(
    disc: NDArray[np.float64], canal: NDArray[np.float64]
) -> tuple[float, float] | None:
    """Mean of the canal's pixels on the disc's long axis, behind it; points are (row, column)."""
    centre = disc.mean(axis=0)
    _, _, axes = np.linalg.svd(disc - centre, full_matrices=False)
    backwards = axes[0] * np.sign(axes[0][1])
    offset = canal - centre
    along, across = offset @ backwards, np.abs(offset @ axes[1])
    behind = canal[(across < 4) & (along > 0)]
    return _xy(behind.mean(axis=0)) if len(behind) >= 8 else None


def _xy(row_column: NDArray[np.float64]) -> tuple[float, float]:
    return float(row_column[1]), float(row_column[0])
