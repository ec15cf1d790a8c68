"""The commands for dead letters, studies that are not tried again: `lumbar failures ...`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from worker.cli.shell import (
    AsJson,
    Studies,
    Urgent,
    app,
    print_json,
    print_skipped,
    stdout,
    study_progress,
)
from worker.errors import BadSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.service.admin import Installation
    from worker.service.records import Kind, Record

failures = typer.Typer(
    name="failures",
    epilog="Examples:\n\nlumbar failures list\n\nlumbar failures replay --all --code DeviceBusy",
    rich_markup_mode="markdown",
)
app.add_typer(failures)

All = Annotated[bool, typer.Option("--all", help="Every study that `lumbar failures list` lists.")]
Code = Annotated[
    str | None,
    typer.Option(metavar="CODE", help="Only those with this error code, such as DeviceBusy."),
]


@failures.callback(invoke_without_command=True)
def group(context: typer.Context) -> None:
    """Show dead letters, studies that are not tried again, and replay or dismiss them."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@failures.command(
    "list",
    epilog="Examples:\n\n"
    "lumbar failures list\n\n"
    "lumbar failures list --scan\n\n"
    "lumbar failures list --json | jq -r '.failures[] | .code' | sort | uniq -c",
)
def list_(
    code: Code = None,
    scan: Annotated[
        bool,
        typer.Option(
            "--scan", help="Read the record of every study in the archive and update the list."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List dead letters: when, at which step, after how many attempts, and why.

    The records are metadata of the studies in Orthanc (for DICOMweb, in Redis); Redis holds this
    list of them. If Redis loses its data, workers restore the entries of the last
    LUMBAR_RECONCILE_DAYS within LUMBAR_RECONCILE_S; `--scan` restores all entries at once.
    """
    from worker.service.admin import open_installation
    from worker.settings import Settings

    with open_installation(Settings.load()) as installation:
        if scan:
            with study_progress(installation.archive) as on_study:
                for entry in installation.archive.studies():
                    installation.records.refresh([entry.study], installation.archive, print_skipped)
                    on_study(entry)
            installation.records.refresh_indexes(installation.archive, print_skipped)
        listed = installation.records.failures().items()
    chosen = [(study, record) for study, record in listed if code in (None, record.code)]
    chosen.sort(key=lambda one: (one[1].time, one[0]), reverse=True)
    if as_json:
        print_json({"failures": [_as_json(study, record) for study, record in chosen]})
        return
    if chosen:
        table = Table(box=None)
        table.add_column("Study", no_wrap=True)
        for name in ("Time", "Code", "Step", "Attempts", "Reason"):
            table.add_column(name)
        for study, record in chosen:
            when = f"{record.time.astimezone():%Y-%m-%d %H:%M}"
            texts = study, when, record.code, record.step, str(record.attempts), record.reason
            table.add_row(*map(Text, texts))
        stdout().print(table)
    typer.echo(f"dead letters: {len(chosen)}")


@failures.command(epilog="Example:  lumbar failures show 1.2.840.1")
def show(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="Its Orthanc id or Study Instance UID.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show the record of a study, whether it is a dead letter or not."""
    from worker.service.admin import open_installation
    from worker.settings import Settings

    with open_installation(Settings.load()) as installation:
        name = installation.archive.study_id(study)
        known = _as_json(name, _recorded(installation, name))
    if as_json:
        print_json(known)
        return
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in known.items():
        table.add_row(key, Text(str(value)))
    stdout().print(table)


@failures.command(
    epilog="Examples:\n\n"
    "lumbar failures replay 1.2.840.1 --urgent\n\n"
    "lumbar failures replay --all --code DeviceBusy"
)
def replay(
    studies: Studies = None,
    everything: All = False,
    code: Code = None,
    urgent: Urgent = False,
    as_json: AsJson = False,
) -> None:
    """Grade dead letters again, after their cause was fixed.

    Their records are deleted and the studies queued like new ones, with all attempts. By name it
    also replays studies that were rejected (perhaps by a site rule that was changed since) or
    dismissed by `lumbar failures dismiss`.
    """
    from worker.service.admin import open_installation
    from worker.service.jobs import Priority
    from worker.service.records import Kind
    from worker.settings import Settings

    kinds = Kind.FAILED, Kind.DISMISSED, Kind.REJECTED
    with open_installation(Settings.load()) as installation:
        chosen = _chosen(installation, studies, everything, code, kinds)
        for study, record in chosen:
            installation.replay(study, record, Priority.URGENT if urgent else Priority.NEW)
    _print_done("replayed", chosen, as_json)


@failures.command(
    epilog="Examples:\n\n"
    "lumbar failures dismiss 1.2.840.1\n\n"
    "lumbar failures dismiss --all --code TimeLimit"
)
def dismiss(
    studies: Studies = None, everything: All = False, code: Code = None, as_json: AsJson = False
) -> None:
    """Dismiss dead letters: they are neither graded nor listed.

    Their records say so, so that reconciliation skips them. If images are added or deleted, the
    study is graded again; `lumbar failures replay STUDY` undoes it by hand.
    """
    from worker.service.admin import open_installation
    from worker.service.records import Kind
    from worker.settings import Settings

    with open_installation(Settings.load()) as installation:
        chosen = _chosen(installation, studies, everything, code, (Kind.FAILED, Kind.DISMISSED))
        for study, record in chosen:
            installation.records.dismiss(study, record)
    _print_done("dismissed", chosen, as_json)


def _chosen(
    installation: Installation,
    names: list[str] | None,
    everything: bool,
    code: str | None,
    kinds: Sequence[Kind],
) -> list[tuple[str, Record]]:
    """The named or all listed studies, with their current records."""
    if bool(names) == everything:
        raise BadSettings("name studies, or use --all")
    if names and code:
        raise BadSettings("--code works with --all only, not with names of studies")
    if names:
        ids = dict.fromkeys(installation.archive.study_id(name) for name in names)
        chosen = [(study, _recorded(installation, study)) for study in ids]
        for study, record in chosen:
            if record.kind not in kinds:
                raise BadSettings(f"the study {study} is not a dead letter: it is {record.kind}")
        return chosen
    # The list may be older than the records, and contain deleted studies.
    installation.records.refresh_indexes(installation.archive, print_skipped)
    return [(s, r) for s, r in installation.records.failures().items() if code in (None, r.code)]


def _recorded(installation: Installation, study: str) -> Record:
    record = installation.records.read(study)
    if record is None:
        raise BadSettings(f"the study {study} has no record")
    return record


def _as_json(study: str, record: Record) -> dict[str, Any]:
    return {"study": study} | record.model_dump(mode="json", exclude_none=True)


def _print_done(done: str, chosen: Sequence[tuple[str, Record]], as_json: bool) -> None:
    studies = [study for study, _ in chosen]
    if as_json:
        print_json({done: studies})
        return
    for study in studies:
        typer.echo(f"{done}  {study}")
    if not studies:
        typer.echo("no dead letters")
