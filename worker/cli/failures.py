"""The verbs about dead letters, the studies that were given up: failures list and its siblings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from worker.cli.shell import AsJson, app, print_json, print_skipped, stdout, study_progress
from worker.errors import BadSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.service.admin import Desk
    from worker.service.records import Kind, Record

failures = typer.Typer(
    name="failures",
    epilog="Examples:\n\nlumbar failures list\n\nlumbar failures replay --all --code DeviceBusy",
    rich_markup_mode="markdown",
)
app.add_typer(failures)

Studies = Annotated[
    list[str] | None,
    typer.Argument(metavar="STUDY", help="Studies by their Orthanc id or Study Instance UID."),
]
All = Annotated[bool, typer.Option("--all", help="Every study that `lumbar failures list` lists.")]
Code = Annotated[
    str | None,
    typer.Option(metavar="CODE", help="Only those with this reason code, such as DeviceBusy."),
]


@failures.callback(invoke_without_command=True)
def group(context: typer.Context) -> None:
    """See why studies were given up, try them again, or put them aside."""
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
            "--scan", help="Read the record of every study in the archive, and mend the list."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the studies that were given up: when, at which step, after how many tries, and why.

    The records lie beside the studies in Orthanc (in Redis for DICOMweb); Redis keeps this list
    of them. After Redis was lost, workers list again what changed in the last
    LUMBAR_RECONCILE_DAYS, within LUMBAR_RECONCILE_S; `--scan` finds everything at once.
    """
    from worker.service.admin import open_desk
    from worker.settings import Settings

    with open_desk(Settings.load()) as desk:
        if scan:
            with study_progress(desk.archive) as looked:
                for held in desk.archive.studies():
                    desk.records.reread([held.study], desk.archive, print_skipped)
                    looked(held)
            desk.records.recheck(desk.archive, print_skipped)
        listed = desk.records.failures().items()
    chosen = [(study, record) for study, record in listed if code in (None, record.code)]
    chosen.sort(key=lambda one: (one[1].time, one[0]), reverse=True)
    if as_json:
        print_json({"failures": [_as_json(study, record) for study, record in chosen]})
        return
    if chosen:
        table = Table(box=None)
        table.add_column("Study", no_wrap=True)
        for name in ("When", "Code", "Step", "Tries", "Why"):
            table.add_column(name)
        for study, record in chosen:
            when = f"{record.time.astimezone():%Y-%m-%d %H:%M}"
            texts = study, when, record.code, record.step, str(record.tries), record.reason
            table.add_row(*map(Text, texts))
        stdout().print(table)
    typer.echo(f"given up: {len(chosen)}")


@failures.command(epilog="Example:  lumbar failures show 1.2.840.1")
def show(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="Its Orthanc id or Study Instance UID.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show all that is recorded of a study, whether it was given up or not."""
    from worker.service.admin import open_desk
    from worker.settings import Settings

    with open_desk(Settings.load()) as desk:
        name = desk.archive.study_id(study)
        known = _as_json(name, _recorded(desk, name))
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
    urgent: Annotated[
        bool, typer.Option("--urgent", help="Before all others, and not as new studies.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Try again to grade studies that were given up, once their cause is mended.

    Their records are taken away and the studies queued like new ones; each has all its tries
    again. By name it also takes studies that were rejected (perhaps by a site rule that was
    mended since) or put aside by `lumbar failures forget`.
    """
    from worker.service.admin import open_desk
    from worker.service.queue import Priority
    from worker.service.records import Kind
    from worker.settings import Settings

    kinds = Kind.FAILED, Kind.DISMISSED, Kind.REJECTED
    with open_desk(Settings.load()) as desk:
        chosen = _chosen(desk, studies, everything, code, kinds)
        for study, record in chosen:
            desk.replay(study, record, Priority.URGENT if urgent else Priority.NEW)
    _print_done("replayed", chosen, as_json)


@failures.command(
    epilog="Examples:\n\n"
    "lumbar failures forget 1.2.840.1\n\n"
    "lumbar failures forget --all --code TimeLimit"
)
def forget(
    studies: Studies = None, everything: All = False, code: Code = None, as_json: AsJson = False
) -> None:
    """Put studies aside that were given up: they stay ungraded, and are listed no more.

    Their records stay and say so, lest reconciliation try them again. When images come or go,
    the study is looked at again; `lumbar failures replay STUDY` undoes it by hand.
    """
    from worker.service.admin import open_desk
    from worker.service.records import Kind
    from worker.settings import Settings

    with open_desk(Settings.load()) as desk:
        chosen = _chosen(desk, studies, everything, code, (Kind.FAILED, Kind.DISMISSED))
        for study, record in chosen:
            desk.records.dismiss(study, record)
    _print_done("forgotten", chosen, as_json)


def _chosen(
    desk: Desk,
    names: list[str] | None,
    everything: bool,
    code: str | None,
    kinds: Sequence[Kind],
) -> list[tuple[str, Record]]:
    """The studies that were named, or those listed, with their records as they are now."""
    if bool(names) == everything:
        raise BadSettings("name studies, or give --all")
    if names and code:
        raise BadSettings("--code chooses among --all: leave it out, or the studies' names")
    if names:
        ids = dict.fromkeys(desk.archive.study_id(name) for name in names)
        chosen = [(study, _recorded(desk, study)) for study in ids]
        for study, record in chosen:
            if record.kind not in kinds:
                raise BadSettings(f"the study {study} is no dead letter: it is {record.kind}")
        return chosen
    # The list may be older than the records: those of deleted studies have gone with them.
    desk.records.recheck(desk.archive, print_skipped)
    return [(s, r) for s, r in desk.records.failures().items() if code in (None, r.code)]


def _recorded(desk: Desk, study: str) -> Record:
    record = desk.records.read(study)
    if record is None:
        raise BadSettings(f"nothing is recorded of the study {study}")
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
        typer.echo("no study was given up")
