"""Reads CSV tables row by row: a faulty row is reported with file and line, and skipped."""

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
"""The reason under which faulty rows are counted."""


@dataclass(frozen=True)
class Table(Generic[Row]):
    """The usable rows of a table, and the number of others by reason.

    `problems` holds file, line and fault of each faulty row. `skipped` counts every row left
    out by reason, including rows left out by a cleaning rule. `lines` holds the line of each
    row, where the table was read from one file.
    """

    rows: tuple[Row, ...]
    problems: tuple[str, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)
    lines: tuple[int, ...] = ()

    @property
    def summary(self) -> str:
        """The number of rows, and of those left out by reason, in one line."""
        left_out = ", ".join(f"{count} {reason}" for reason, count in self.skipped.items() if count)
        return f"{len(self.rows)} rows" + (f"; left out: {left_out}" if left_out else "")


@dataclass(frozen=True)
class LeftOut:
    """Returned by a parser for a valid row that a cleaning rule leaves out."""

    reason: str


def read_table(
    path: Path,
    parse: Callable[[Mapping[str, str]], Row | LeftOut],
    columns: Sequence[str] = (),
) -> Table[Row]:
    """Read a CSV file with a header (UTF-8, with or without a byte order mark).

    A ValueError from `parse`, or a row of another length than the header, becomes a problem
    with file and line. Without one of `columns` no row is read, and there is one problem.
    Raises FileNotFoundError.
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
                names = ", ".join(absent)
                problem = f"{path}:1: missing column {names}; {unread} rows not read"
                return Table((), (problem,), {FAULTY: unread})
            for record in reader:
                try:
                    row = parse(_complete(record))
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
            problems.append(f"{path}:{reader.line_num}: {error}; the rest of the file was not read")
            skipped[FAULTY] += 1
    return Table(tuple(rows), tuple(problems), skipped, tuple(lines))


def read_index(
    folder: Path,
    content: str,
    columns: Sequence[str],
    parse: Callable[[Mapping[str, str]], Row | LeftOut],
) -> Table[Row]:
    """Read the `index.csv` of a folder like `read_table`; `content` names its rows.

    Raises BadSettings where it is missing.
    """
    path = folder / INDEX
    if not path.is_file():
        raise BadSettings(
            f"{folder} has no {INDEX}; name a folder whose {INDEX} lists {content}, "
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
    """A finite number; raises ValueError otherwise."""
    try:
        value = float(record[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{column} is not a number: {record[column]!r}")
    return value


def integer_of(record: Mapping[str, str], column: str) -> int:
    """An integer; raises ValueError otherwise."""
    value = number_of(record, column)
    if value != int(value):
        raise ValueError(f"{column} is not an integer: {record[column]!r}")
    return int(value)


def size_of(record: Mapping[str, str], rows: str, columns: str) -> tuple[float, float]:
    """The (height, width) in pixels; raises ValueError where it is not positive."""
    height, width = number_of(record, rows), number_of(record, columns)
    if height <= 0 or width <= 0:
        raise ValueError(f"invalid image size {height:g} x {width:g}")
    return height, width


def severity_of(text: str) -> Severity | None:
    """A severity from 0/1/2 or the labels of the challenge; None where it is missing."""
    text = text.strip()
    if not text:
        return None
    if text in {"0", "1", "2"}:
        return SEVERITIES[int(text)]
    for severity in SEVERITIES:
        if text == severity.label:
            return severity
    raise ValueError(f"unknown severity {text!r}")


def _complete(record: Mapping[str | None, str | list[str] | None]) -> Mapping[str, str]:
    """The record, checked to have one cell for each column."""
    cells = {name: cell for name, cell in record.items() if name and isinstance(cell, str)}
    if len(cells) != len(record):
        raise ValueError("the row has more or fewer cells than the header")
    return cells
