"""What `lumbar reconcile` and `lumbar regrade` share: queueing studies and printing the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import typer
from rich.table import Table
from rich.text import Text

from worker.cli.shell import print_json, stdout

if TYPE_CHECKING:
    from worker.service.admin import Installation
    from worker.service.jobs import GradeJob

_MAX_ROWS: Final = 50
"""Rows of a table; --json prints all."""


class State(StrEnum):
    """What a command did with a study."""

    QUEUED = "queued"
    IN_QUEUE = "already in the queue"
    RUNNING = "is being graded"
    UNCHANGED = "unchanged"
    DRY_RUN = "not sent (dry run)"


@dataclass(frozen=True)
class QueuedStudy:
    """A study that a command selected, why, and what it did with it."""

    study: str
    reason: str
    state: State
    changed: datetime | None = None


def queue_study(installation: Installation, job: GradeJob, dry_run: bool) -> State:
    """Queue a study, but not twice, unless it is to be graded before those in the queue."""
    from worker.service.jobs import Priority

    if dry_run:
        return State.DRY_RUN
    if job.priority == Priority.URGENT:
        installation.queue.send(job)
        return State.QUEUED
    return State.QUEUED if installation.queue.send_if_absent(job) else State.IN_QUEUE


def print_studies(studies: Sequence[QueuedStudy], *, dry_run: bool, as_json: bool) -> None:
    """Print a table, or JSON alone."""
    if as_json:
        rows = [
            {
                "study": one.study,
                "reason": one.reason,
                "changed": one.changed.isoformat() if one.changed else None,
                "state": one.state,
            }
            for one in studies
        ]
        print_json({"dry_run": dry_run, "studies": rows})
        return
    if studies:
        table = Table(box=None)
        table.add_column("Study", no_wrap=True)
        for name in ("Changed", "Reason", "State"):
            table.add_column(name)
        for one in studies[:_MAX_ROWS]:
            changed = f"{one.changed.astimezone():%Y-%m-%d %H:%M}" if one.changed else ""
            table.add_row(Text(one.study), changed, one.reason, one.state)
        stdout().print(table)
        if len(studies) > _MAX_ROWS:
            typer.echo(f"... and {len(studies) - _MAX_ROWS} more; --json prints all")
    queued = sum(one.state is State.QUEUED for one in studies)
    typer.echo(f"found {len(studies)}, queued {queued}")
