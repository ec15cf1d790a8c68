"""Sagittal T2 slices with masks of discs and canal (SPIDER), turned into named points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from dicom_sr.findings import Level
from worker.datasets.tables import Table, read_table

DISC_GREY: Final = 29
CANAL_GREY: Final = 150
SMALLEST_DISC_PX: Final = 60


@dataclass(frozen=True)
class MaskedSlice:
    """A sagittal T2 picture and its mask."""

    study_id: str
    path: Path
    mask: Path


@dataclass(frozen=True)
class DiscPoint:
    """A disc's centroid and the middle of the canal behind it, (column, row) in pixels.

    `canal` is None where the mask shows no canal behind the disc: the slice is off the
    midline there.
    """

    level: Level
    disc: tuple[float, float]
    canal: tuple[float, float] | None


def read_masked_slices(folder: Path) -> Table[MaskedSlice]:
    """Read the index of such a folder; masks without discs are left out."""

    def parse(record: Mapping[str, str]) -> MaskedSlice | None:
        if "disc" not in record["mask_classes"]:
            return None
        return MaskedSlice(record["study_id"], folder / record["file"], folder / record["mask"])

    return read_table(folder / "index.csv", parse)


def disc_points(mask_file: Path) -> tuple[DiscPoint, ...]:
    """The five lowest discs of a mask, counted upward: the lowest is L5/S1.

    Empty when the mask shows fewer than five discs, so that no level is ever guessed.
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
