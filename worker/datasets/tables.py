"""Reading an index, row by row: a bad row is told by file and line, skipped and counted."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from dicom_sr.findings import Severity

Row = TypeVar("Row")

SEVERITIES = tuple(Severity)


@dataclass(frozen=True)
class Table(Generic[Row]):
    """The rows that could be read, and one line for each that could not."""

    rows: tuple[Row, ...]
    problems: tuple[str, ...]


def read_table(path: Path, parse: Callable[[Mapping[str, str]], Row | None]) -> Table[Row]:
    """Read a CSV file with a header; `parse` returns a row, None to leave it out silently.

    A ValueError or KeyError from `parse` becomes a problem that names file and line.
    Raises FileNotFoundError.
    """
    rows: list[Row] = []
    problems: list[str] = []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        for record in reader:
            try:
                row = parse(record)
            except KeyError as error:
                problems.append(f"{path}:{reader.line_num}: no column {error}")
            except (ValueError, TypeError) as error:
                problems.append(f"{path}:{reader.line_num}: {error}")
            else:
                if row is not None:
                    rows.append(row)
    return Table(tuple(rows), tuple(problems))


def fold_of(study_id: str, folds: int) -> int:
    """The fold of a study: crc32 of its id, the one rule for all sets (patient-grouped)."""
    return zlib.crc32(study_id.encode()) % folds


def severity_of(text: str) -> Severity | None:
    """A severity from 0/1/2 or the challenge's words; None where the label is missing."""
    text = text.strip()
    if not text:
        return None
    if text in {"0", "1", "2"}:
        return SEVERITIES[int(text)]
    for severity in SEVERITIES:
        if text == severity.words:
            return severity
    raise ValueError(f"unknown severity {text!r}")
