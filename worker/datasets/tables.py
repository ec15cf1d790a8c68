"""Reading an index, row by row: a bad row is told by file and line, skipped and counted."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Generic, TypeVar

from dicom_sr.findings import Severity
from worker.datasets.folds import fold_of as fold_of
from worker.errors import BadSettings

Row = TypeVar("Row")

SEVERITIES: Final = tuple(Severity)
INDEX: Final = "index.csv"
FAULTY: Final = "faulty"
"""The reason under which rows with a problem of their own are counted."""


@dataclass(frozen=True)
class Table(Generic[Row]):
    """The rows that can be used, and an account of those that cannot.

    `problems` names file, line and fault. `skipped` counts every row left out by its
    reason, those that a rule of cleaning left out silently included. `lines` holds the
    line of each row, where the table was read from one file.
    """

    rows: tuple[Row, ...]
    problems: tuple[str, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)
    lines: tuple[int, ...] = ()

    @property
    def account(self) -> str:
        """One line: how many rows there are, and how many were left out for what reason."""
        left_out = ", ".join(f"{count} {reason}" for reason, count in self.skipped.items() if count)
        return f"{len(self.rows)} rows" + (f"; left out: {left_out}" if left_out else "")


@dataclass(frozen=True)
class LeftOut:
    """What a parser returns for a sound row that a rule leaves out: the rule's name."""

    reason: str


def read_table(
    path: Path,
    parse: Callable[[Mapping[str, str]], Row | LeftOut],
    columns: Sequence[str] = (),
) -> Table[Row]:
    """Read a CSV file with a header (UTF-8, with or without a byte order mark).

    A ValueError from `parse` becomes a problem that names file and line, and so does a row
    of another length than the header. Without one of `columns` no row is read, and one
    problem says so. Raises FileNotFoundError.
    """
    rows: list[Row] = []
    lines: list[int] = []
    problems: list[str] = []
    skipped: Counter[str] = Counter()
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file)
        try:
            if absent := [name for name in columns if name not in (reader.fieldnames or ())]:
                unread = sum(1 for _ in reader)
                named = ", ".join(absent)
                problem = f"{path}:1: no column {named}: none of the {unread} rows can be read"
                return Table((), (problem,), {FAULTY: unread})
            for record in reader:
                try:
                    row = parse(_whole(record))
                except ValueError as error:
                    problems.append(f"{path}:{reader.line_num}: {error}")
                    skipped[FAULTY] += 1
                    continue
                if isinstance(row, LeftOut):
                    skipped[row.reason] += 1
                else:
                    rows.append(row)
                    lines.append(reader.line_num)
        except csv.Error as error:
            problems.append(f"{path}:{reader.line_num}: {error}; nothing after it was read")
            skipped[FAULTY] += 1
    return Table(tuple(rows), tuple(problems), skipped, tuple(lines))


def read_index(
    folder: Path,
    holds: str,
    columns: Sequence[str],
    parse: Callable[[Mapping[str, str]], Row | LeftOut],
) -> Table[Row]:
    """Read the `index.csv` of a folder as `read_table` does; `holds` says what it lists.

    Raises BadSettings where there is none.
    """
    path = folder / INDEX
    if not path.is_file():
        raise BadSettings(
            f"{folder} has no {INDEX}; name a folder whose {INDEX} lists {holds}, "
            f"with the columns {', '.join(columns)}"
        )
    return read_table(path, parse, columns)


def file_of(folder: Path, record: Mapping[str, str], column: str = "file") -> Path:
    """The file that a row names; raises ValueError where it is missing."""
    path = folder / record[column]
    if not path.is_file():
        raise ValueError(f"{column} {record[column]!r} is missing in {folder}")
    return path


def number_of(record: Mapping[str, str], column: str) -> float:
    """A finite number; raises ValueError where there is none."""
    try:
        value = float(record[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{column} is no number: {record[column]!r}")
    return value


def integer_of(record: Mapping[str, str], column: str) -> int:
    """A whole number; raises ValueError where there is none."""
    value = number_of(record, column)
    if value != int(value):
        raise ValueError(f"{column} is no whole number: {record[column]!r}")
    return int(value)


def size_of(record: Mapping[str, str], rows: str, columns: str) -> tuple[float, float]:
    """The (height, width) in pixels; raises ValueError where it is not positive."""
    height, width = number_of(record, rows), number_of(record, columns)
    if height <= 0 or width <= 0:
        raise ValueError(f"an image of {height:g} x {width:g} pixels")
    return height, width


def severity_of(text: str) -> Severity | None:
    """A severity from 0/1/2 or the challenge's words; None where the label is missing."""
    text = text.strip()
    if not text:
        return None
    if text in {"0", "1", "2"}:
        return SEVERITIES[int(text)]
    for severity in SEVERITIES:
        if text == severity.label:
            return severity
    raise ValueError(f"unknown severity {text!r}")


def _whole(record: Mapping[str | None, str | list[str] | None]) -> Mapping[str, str]:
    """The record, once it is known to have one cell for each column."""
    cells = {name: cell for name, cell in record.items() if name and isinstance(cell, str)}
    if len(cells) != len(record):
        raise ValueError("the row has more or fewer cells than the header")
    return cells
