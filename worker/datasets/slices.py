"""Reads the slices of an index folder without their labels."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from worker.datasets.tables import INDEX, LeftOut, Table, file_of, read_index, size_of


@dataclass(frozen=True)
class IndexedSlice:
    """One picture of an index; `file` is its name in the index.

    `original` is the (height, width) before it was resized to a square, else None.
    """

    study_id: str
    file: str
    path: Path
    original: tuple[float, float] | None


def read_slices(folder: Path) -> Table[IndexedSlice]:
    """Every picture of an index, once, in its order; no label is read.

    Raises BadSettings where the index is missing.
    """
    seen: set[str] = set()

    def parse(record: Mapping[str, str]) -> IndexedSlice | LeftOut:
        path = file_of(folder, record)
        known = "height" in record and "width" in record
        original = size_of(record, "height", "width") if known else None
        if record["file"] in seen:
            return LeftOut("repeated")
        seen.add(record["file"])
        return IndexedSlice(record["study_id"], record["file"], path, original)

    return read_index(folder, "sagittal slices", ("study_id", "file"), parse)


def has_masks(folder: Path) -> bool:
    """Whether an index has masks: sagittal T2 with masks, otherwise T1 with points."""
    with (folder / INDEX).open(newline="", encoding="utf-8-sig") as file:
        return "mask" in next(csv.reader(file), [])
