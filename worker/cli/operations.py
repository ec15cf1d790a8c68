"""The verbs that keep an archive graded: reconcile, regrade."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from worker.cli.shell import AsJson, app, print_json, print_skipped, stderr, stdout, study_progress
from worker.errors import BadSettings, StudyGone

if TYPE_CHECKING:
    from dicom_sr.findings import BundleIdentity
    from worker.service.admin import Desk
    from worker.service.queue import Order

_ALL: Final = "all"
_AGO: Final = re.compile(r"([0-9]{1,5})([hdw])")
_UNITS: Final = {"h": "hours", "d": "days", "w": "weeks"}
_ASKED: Final = "asked for"
_NO_MODELS: Final = ""
"""The SHA-256 of none: whatever graded a study, it was another."""
_ROWS: Final = 50
"""How many studies a table shows; --json has them all."""

_WHEN_HELP: Final = (
    "Only studies whose images changed since then: some time ago (12h, 7d, 4w), a date "
    "(2026-11-01, with 2026-11-01T18:30 a time), or all. DICOMweb servers do not tell when a "
    "study changed: there it is always all."
)
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; send nothing.")]


class State(StrEnum):
    """What became of a study that was found."""

    QUEUED = "queued"
    WAITS = "waits in the queue already"
    RUNS = "is being graded"
    LEFT = "left as it is"
    DRY_RUN = "not sent (dry run)"


@dataclass(frozen=True)
class Found:
    """A study that a verb found, and what it did about it."""

    study: str
    why: str
    state: State
    changed: datetime | None = None


@app.command(
    epilog="Examples:\n\n"
    "lumbar reconcile --dry-run\n\n"
    "lumbar reconcile --since 2026-11-01\n\n"
    "lumbar reconcile --since all --json | jq '.studies[] | .why' | sort | uniq -c"
)
def reconcile(
    since: Annotated[str, typer.Option(metavar="WHEN", help=_WHEN_HELP)] = "7d",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Find the studies that are owed a grading, and queue them behind all others.

    The archive of LUMBAR_* is compared with what is recorded of its studies. A study is owed a
    grading when nothing is known of it, when images came or went since it was looked at, when
    it has waited long enough for missing series, or when its report was deleted. Studies that
    still arrive are left out, and so is what was rejected or given up (`lumbar failures`).

    `lumbar serve` does the same by itself, every LUMBAR_RECONCILE_S, for what changed in the last
    LUMBAR_RECONCILE_DAYS. By hand it is for what is older, and to see what is owed and why. It
    may be repeated: a study that waits already is not queued twice.
    """
    begin = moment(since)
    from worker.service.admin import open_desk
    from worker.service.queue import Order, Priority
    from worker.service.reconciling import Reconciler
    from worker.settings import Settings

    with open_desk(Settings.load()) as desk, study_progress(desk.archive) as looked:
        owed = Reconciler(desk.archive, desk.records).owed(
            since=begin, one_pass=True, looked=looked, passed_over=print_skipped
        )
        found = [
            Found(
                one.study,
                one.why,
                State.RUNS
                if one.study in desk.leases.running()
                else _sent(desk, Order(one.study, priority=Priority.BACKLOG), dry_run),
                one.changed,
            )
            for one in owed
        ]
    _print(found, dry_run=dry_run, as_json=as_json)


@app.command(
    epilog="Examples:\n\n"
    "lumbar regrade --all --bundle NEW_BUNDLE --dry-run    # how many would it be?\n\n"
    "LUMBAR_BUNDLE=NEW_BUNDLE lumbar serve                 # all workers, restarted\n\n"
    "lumbar regrade --all --bundle NEW_BUNDLE\n\n"
    "lumbar regrade 1.2.840.1 --urgent\n\n"
    "lumbar regrade --all --rules                          # after a change of LUMBAR_SITE_RULES"
)
def regrade(
    studies: Annotated[
        list[str] | None,
        typer.Argument(metavar="STUDY", help="Studies by their Orthanc id or Study Instance UID."),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The bundle that is to have graded them; that of LUMBAR_BUNDLE, or else the "
            "packaged one, if not given.",
        ),
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="WHEN", help=_WHEN_HELP)] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every study that other models graded.")
    ] = False,
    rules: Annotated[
        bool,
        typer.Option(
            "--rules",
            help="Also what these models graded: after a change of the site's rules or of "
            "LUMBAR_MIN_AGE. Where routing comes out as before, the report stays.",
        ),
    ] = False,
    urgent: Annotated[
        bool, typer.Option("--urgent", help="Before all others, and not behind them.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Have studies graded again that other models graded.

    A new bundle alone regrades nothing: reports stay until this asks for new ones. The new
    report names the old one as revised, and both stay in the archive. A study that these very
    models graded is left as it is: the same images and models give the same report, unless
    the rules of routing were changed (--rules).

    Workers grade with the bundle of their own LUMBAR_BUNDLE, whatever is named here. So set that
    first and restart them; while a running worker uses other models, nothing is sent. Without
    a study's name, only studies are meant that have a report of other models; what was never
    looked at is found by `lumbar reconcile`, and what was given up by `lumbar failures replay`.
    """
    names = studies or []
    if sum([bool(names), since is not None, everything]) != 1:
        raise BadSettings("name studies, or give --since, or --all: one of the three")
    begin = moment(since or _ALL)
    from worker.approaches import read_identity
    from worker.service.admin import open_desk
    from worker.service.queue import Order, Priority
    from worker.service.reconciling import Reconciler, Why
    from worker.settings import Settings

    settings = Settings.load()
    configured = Path(settings.bundle) if settings.bundle else None
    models = read_identity(bundle or configured)
    priority = Priority.URGENT if urgent else Priority.BACKLOG

    asked = _ASKED if rules else str(Why.OTHER_MODELS)

    def send(study: str) -> State:
        return _sent(desk, Order(study, regrade=True, priority=priority), dry_run)

    with open_desk(settings) as desk:
        if not dry_run:
            _check_models(desk, models)
        if names:
            found = _named(desk, names, None if rules else models, send)
        else:
            with study_progress(desk.archive) as looked:
                owed = Reconciler(desk.archive, desk.records).owed(
                    since=begin,
                    bundle=_NO_MODELS if rules else models.sha256,
                    one_pass=True,
                    looked=looked,
                    passed_over=print_skipped,
                )
                found = [
                    Found(one.study, asked, send(one.study), one.changed)
                    for one in owed
                    if one.why is Why.OTHER_MODELS
                ]
    _print(found, dry_run=dry_run, as_json=as_json)


def moment(text: str) -> datetime | None:
    """What --since names, None for all; a date without a time zone is that of this machine.

    Raises `BadSettings`.
    """
    if text == _ALL:
        return None
    if ago := _AGO.fullmatch(text):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise BadSettings(
            f"--since {text}: write some time ago (12h, 7d, 4w), a date (2026-11-01), or all"
        ) from None


def _sent(desk: Desk, order: Order, dry_run: bool) -> State:
    """Queue a study, but not twice, unless it is to go before what waits already."""
    from worker.service.queue import Priority

    if dry_run:
        return State.DRY_RUN
    if order.priority == Priority.URGENT:
        desk.queue.send(order)
        return State.QUEUED
    return State.QUEUED if desk.queue.send_once(order) else State.WAITS


def _check_models(desk: Desk, models: BundleIdentity) -> None:
    """Refuse where a worker would take these orders and leave the reports as they are."""
    in_use = desk.models.heard()
    if others := sorted(in_use - {models.sha256}):
        raise BadSettings(
            f"a worker grades with other models (sha256 {others[0][:12]}) than {models.name} "
            f"{models.version} ({models.sha256[:12]}): set its LUMBAR_BUNDLE, restart it, and "
            "run this again half a minute later"
        )
    if not in_use:
        stderr().print(
            f"no worker runs: the studies wait for one, which must grade with {models.name} "
            f"{models.version}, or they are left as they are",
            style="yellow",
        )


def _named(
    desk: Desk, names: Sequence[str], models: BundleIdentity | None, send: Callable[[str], State]
) -> list[Found]:
    """Send the studies of these names, all of them or, where one is not there, none.

    With `models` what they graded already is left as it is.
    """
    from worker.service.records import Kind, sources_of

    held = {}
    for name in names:
        study = desk.archive.study_id(name)
        held[study] = desk.archive.inventory(study)
        if not held[study]:
            raise StudyGone(f"the archive holds no MR images of the study {name}")
    found = []
    for study, inventory in held.items():
        record = desk.records.read(study)
        known = record is not None and record.about(
            sources_of(inventory), models.sha256 if models else None
        )
        if record is None or not known or (models is None and record.kind is Kind.GRADED):
            found.append(Found(study, _ASKED, send(study)))
        elif record.kind is not Kind.GRADED:
            why = f"{record.kind} with these models: see `lumbar failures show`"
            found.append(Found(study, why, State.LEFT))
        elif record.report_is_in(desk.archive, study):
            found.append(Found(study, "graded with these models", State.LEFT))
        else:
            found.append(Found(study, "its report was deleted", send(study)))
    return found


def _print(found: Sequence[Found], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        rows = [
            {
                "study": one.study,
                "why": one.why,
                "changed": one.changed.isoformat() if one.changed else None,
                "state": one.state,
            }
            for one in found
        ]
        print_json({"dry_run": dry_run, "studies": rows})
        return
    if found:
        table = Table(box=None)
        table.add_column("Study", no_wrap=True)
        for name in ("Changed", "Why", "What became of it"):
            table.add_column(name)
        for one in found[:_ROWS]:
            changed = f"{one.changed.astimezone():%Y-%m-%d %H:%M}" if one.changed else ""
            table.add_row(Text(one.study), changed, one.why, one.state)
        stdout().print(table)
        if len(found) > _ROWS:
            typer.echo(f"... and {len(found) - _ROWS} more; --json has them all")
    queued = sum(one.state is State.QUEUED for one in found)
    typer.echo(f"found {len(found)}, queued {queued}")
