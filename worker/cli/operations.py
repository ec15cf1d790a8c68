"""The commands that queue studies of an archive: reconcile, regrade."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from worker.cli.queued import QueuedStudy, State, print_studies, queue_study
from worker.cli.shell import (
    AsJson,
    DryRun,
    Studies,
    Urgent,
    app,
    print_skipped,
    stderr,
    study_progress,
)
from worker.errors import BadSettings, StudyGone

if TYPE_CHECKING:
    from dicom_sr.findings import BundleIdentity
    from worker.service.admin import Installation

_ALL: Final = "all"
_AGO: Final = re.compile(r"([0-9]{1,5})([hdw])")
_UNITS: Final = {"h": "hours", "d": "days", "w": "weeks"}
_REQUESTED: Final = "requested"
_NO_MODELS: Final = ""
"""A SHA-256 that no bundle has: every report counts as one of other models."""

_SINCE_HELP: Final = (
    "Only studies whose images changed since then: a time ago (12h, 7d, 4w), a date "
    "(2026-11-01, with a time 2026-11-01T18:30), or all. DICOMweb servers do not provide the "
    "time of a change: for them it is always all."
)
Rules = Annotated[
    bool,
    typer.Option(
        "--rules",
        help="Include studies that the same models graded: after a change of the site's rules "
        "or of LUMBAR_MIN_AGE. If routing gives the same result, the report stays.",
    ),
]


@app.command(
    epilog="Examples:\n\n"
    "lumbar reconcile --dry-run\n\n"
    "lumbar reconcile --since 2026-11-01\n\n"
    "lumbar reconcile --since all --json | jq '.studies[] | .reason' | sort | uniq -c"
)
def reconcile(
    since: Annotated[str, typer.Option(metavar="WHEN", help=_SINCE_HELP)] = "7d",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Find the studies that have no report yet, and queue them with the lowest priority.

    The archive of LUMBAR_* is compared with the records of its studies. A study needs grading
    if it has no record, if images were added or deleted since, if it has waited long enough for
    missing series, or if its report was deleted. Studies that still arrive are not included, nor
    are rejected studies and dead letters (`lumbar failures`).

    `lumbar serve` does the same every LUMBAR_RECONCILE_S for studies that changed in the last
    LUMBAR_RECONCILE_DAYS. Use this command for older studies, or to see which need grading and
    why. It may be repeated: a study in the queue is not queued twice.
    """
    begin = parse_since(since)
    from worker.service.admin import open_installation
    from worker.service.jobs import GradeJob, Priority
    from worker.service.reconciling import Reconciler
    from worker.settings import Settings

    with (
        open_installation(Settings.load()) as installation,
        study_progress(installation.archive) as on_study,
    ):
        pending = Reconciler(installation.archive, installation.records).pending(
            since=begin, one_pass=True, on_study=on_study, on_skipped=print_skipped
        )
        studies = [
            QueuedStudy(
                one.study,
                one.reason,
                State.RUNNING
                if one.study in installation.leases.running()
                else queue_study(
                    installation, GradeJob(one.study, priority=Priority.BACKLOG), dry_run
                ),
                one.changed,
            )
            for one in pending
        ]
    print_studies(studies, dry_run=dry_run, as_json=as_json)


@app.command(
    epilog="Examples:\n\n"
    "lumbar regrade --all --bundle NEW_BUNDLE --dry-run    # how many studies?\n\n"
    "LUMBAR_BUNDLE=NEW_BUNDLE lumbar serve                 # all workers, restarted\n\n"
    "lumbar regrade --all --bundle NEW_BUNDLE\n\n"
    "lumbar regrade 1.2.840.1 --urgent\n\n"
    "lumbar regrade --all --rules                          # after a change of LUMBAR_SITE_RULES"
)
def regrade(
    studies: Studies = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The new bundle; that of LUMBAR_BUNDLE, or else the packaged one, if not given.",
        ),
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="WHEN", help=_SINCE_HELP)] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every study that other models graded.")
    ] = False,
    rules: Rules = False,
    urgent: Urgent = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Queue studies that other models graded, to be graded again.

    A new bundle alone regrades nothing: reports stay until this command requests new ones. The
    new report names the old one as its predecessor, and both stay in the archive. A study that
    the same models graded is not included: the same images and models give the same report,
    unless the routing rules were changed (--rules).

    Workers use the bundle of their own LUMBAR_BUNDLE, whatever is named here. Set it first and
    restart them; while a worker uses other models, nothing is sent. Without names of studies,
    only studies with a report of other models are queued; use `lumbar reconcile` for studies
    without a report, and `lumbar failures replay` for dead letters.
    """
    names = studies or []
    if sum([bool(names), since is not None, everything]) != 1:
        raise BadSettings("use exactly one of: names of studies, --since, --all")
    begin = parse_since(since or _ALL)
    from worker.approaches import read_identity
    from worker.service.admin import open_installation
    from worker.service.jobs import GradeJob, Priority
    from worker.settings import Settings

    settings = Settings.load()
    configured = Path(settings.bundle) if settings.bundle else None
    models = read_identity(bundle or configured)
    priority = Priority.URGENT if urgent else Priority.BACKLOG

    def send(study: str) -> State:
        return queue_study(installation, GradeJob(study, regrade=True, priority=priority), dry_run)

    with open_installation(settings) as installation:
        if not dry_run:
            _check_models(installation, models)
        if names:
            queued = _regrade_named(installation, names, None if rules else models, send)
        else:
            queued = _regrade_since(installation, begin, None if rules else models, send)
    print_studies(queued, dry_run=dry_run, as_json=as_json)


def parse_since(text: str) -> datetime | None:
    """The time that --since names, None for all; a date without a time zone is local.

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
            f"--since {text}: use a time ago (12h, 7d, 4w), a date (2026-11-01), or all"
        ) from None


def _check_models(installation: Installation, models: BundleIdentity) -> None:
    """Refuse if a worker with other models would take the studies and change nothing."""
    in_use = installation.models.current()
    if others := sorted(in_use - {models.sha256}):
        raise BadSettings(
            f"a worker uses other models (sha256 {others[0][:12]}) than {models.name} "
            f"{models.version} ({models.sha256[:12]}): set its LUMBAR_BUNDLE, restart it, and "
            "run this again half a minute later"
        )
    if not in_use:
        stderr().print(
            f"no worker is running: the studies stay in the queue until a worker with "
            f"{models.name} {models.version} starts; one with other models skips them",
            style="yellow",
        )


def _regrade_since(
    installation: Installation,
    begin: datetime | None,
    models: BundleIdentity | None,
    send: Callable[[str], State],
) -> list[QueuedStudy]:
    """Send the studies whose report is of other models than these; without `models`, all."""
    from worker.service.reconciling import PendingReason, Reconciler

    reason = PendingReason.OTHER_MODELS
    with study_progress(installation.archive) as on_study:
        pending = Reconciler(installation.archive, installation.records).pending(
            since=begin,
            bundle=models.sha256 if models else _NO_MODELS,
            one_pass=True,
            on_study=on_study,
            on_skipped=print_skipped,
        )
        return [
            QueuedStudy(one.study, reason if models else _REQUESTED, send(one.study), one.changed)
            for one in pending
            if one.reason is reason
        ]


def _regrade_named(
    installation: Installation,
    names: Sequence[str],
    models: BundleIdentity | None,
    send: Callable[[str], State],
) -> list[QueuedStudy]:
    """Send the studies with these names; if one does not exist, send none.

    With `models`, studies that they graded are not sent.
    """
    from worker.service.records import Kind, sources_of

    inventories = {}
    for name in names:
        study = installation.archive.study_id(name)
        inventories[study] = installation.archive.inventory(study)
        if not inventories[study]:
            raise StudyGone(f"the archive holds no MR images of the study {name}")
    queued = []
    for study, inventory in inventories.items():
        record = installation.records.read(study)
        is_current = record is not None and record.is_about(
            sources_of(inventory), models.sha256 if models else None
        )
        if record is None or not is_current or (models is None and record.kind is Kind.GRADED):
            queued.append(QueuedStudy(study, _REQUESTED, send(study)))
        elif record.kind is not Kind.GRADED:
            reason = f"{record.kind} with these models: see `lumbar failures show`"
            queued.append(QueuedStudy(study, reason, State.UNCHANGED))
        elif record.report_exists(installation.archive, study):
            queued.append(QueuedStudy(study, "graded with these models", State.UNCHANGED))
        else:
            queued.append(QueuedStudy(study, "its report was deleted", send(study)))
    return queued
