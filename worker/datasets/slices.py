"""The slices of an index folder as pictures alone, for whoever must not see the labels."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from worker.datasets.tables import INDEX, LeftOut, Table, file_of, read_index, size_of


@dataclass(frozen=True)
class IndexedSlice:
    """One picture of an index; `file` is its name there.

    `original` is the (height, width) it had before it was squashed, None where it was not.
    """

    study_id: str
    file: str
    path: Path
    original: tuple[float, float] | None


def read_slices(folder: Path) -> Table[IndexedSlice]:
    """Every picture that an index names, once, in its order; no label is read.

    Raises BadSettings where there is no index.
    """
    seen: set[str] = set()

    def parse(record: Mapping[str, str]) -> IndexedSlice | LeftOut:
        path = file_of(folder, record)
        known = "height" in record and "width" in record
        original = size_of(record, "height", "width") if known else None
        if record["file"] in seen:
            return LeftOut("named before")
        seen.add(record["file"])
        return IndexedSlice(record["study_id"], record["file"], path, original)

    return read_index(folder, "sagittal slices", ("study_id", "file"), parse)


def has_masks(folder: Path) -> bool:
    """Whether an index names masks: then it is of sagittal T2, otherwise of T1 with points."""
    with (folder / INDEX).open(newline="", encoding="utf-8-sig") as file:
        return "mask" in next(csv.reader(file), [])
