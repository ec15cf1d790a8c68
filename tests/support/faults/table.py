"""The table of faults: one row for each, on the screen and in a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.support.faults.census import Count

COLUMNS = ("sent", "graded once", "recorded", "lost", "duplicated", "s to recover")


@dataclass(frozen=True)
class Row:
    """One fault; `seconds` from its end until every study had its outcome."""

    fault: str
    count: Count
    seconds: float

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as it is shown."""
        return (self.fault, *map(str, asdict(self.count).values()), f"{self.seconds:.0f}")


def row_of(content: dict[str, Any]) -> Row:
    """A row from its `asdict`."""
    return Row(content["fault"], Count(**content["count"]), content["seconds"])


def show(rows: list[Row], console: Console) -> None:
    """Print the table."""
    shown = Table(title="Studies under faults", title_justify="left")
    shown.add_column("fault")
    for name in COLUMNS:
        shown.add_column(name, justify="right")
    for row in rows:
        shown.add_row(*row.cells)
    console.print(shown)


def write(rows: list[Row], folder: Path) -> None:
    """Write `faults.md` and `faults.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [("fault", *COLUMNS), ("---", *("--:" for _ in COLUMNS)), *(row.cells for row in rows)]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    (folder / "faults.md").write_text(text)
    (folder / "faults.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
