"""Shared by the subcommands: the application, common options, output and checks of paths."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from worker.errors import BadSettings, LumbarError

if TYPE_CHECKING:
    from worker.archive import SearchableArchive, StudyEntry
    from worker.intake.site import SiteRule

app = typer.Typer(
    name="lumbar",
    help="Grade lumbar spine MRI. Each of the 25 targets gets a severity with probabilities and a "
    "point, or the reason why it is not assessed. Research use only.",
    epilog="Try it on a synthetic study:\n\n"
    "lumbar phantom DEMO --seed 1\n\n"
    "lumbar grade DEMO/train_images --out REPORT\n\n"
    "lumbar compare REPORT --truth DEMO",
    rich_markup_mode="markdown",
    add_completion=False,
    pretty_exceptions_enable=False,
)

Study = Annotated[
    Path, typer.Argument(metavar="PATH", help="Folder with one study, searched recursively.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print only JSON on stdout.")]
BundleFolder = Annotated[
    Path | None,
    typer.Option(
        "--bundle", metavar="DIR", help="Folder of the model bundle; default: the packaged one."
    ),
]
SiteRules = Annotated[
    Path | None,
    typer.Option(
        "--rules",
        metavar="FILE",
        envvar="LUMBAR_SITE_RULES",
        help="TOML file with site-specific routing rules.",
    ),
]
MinAge = Annotated[
    int,
    typer.Option(
        "--min-age",
        metavar="YEARS",
        envvar="LUMBAR_MIN_AGE",
        min=0,
        max=120,
        help="Do not grade patients under this age; 0 grades every age.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]

_UNLIMITED: Final = 10_000
"""Columns of a console that is no terminal."""

Studies = Annotated[
    list[str] | None,
    typer.Argument(metavar="STUDY", help="Studies by their Orthanc id or Study Instance UID."),
]
Urgent = Annotated[bool, typer.Option("--urgent", help="Grade them before all other studies.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be sent; send nothing.")]


def existing(path: Path) -> None:
    """Raise BadSettings if the path does not exist."""
    if not path.exists():
        raise BadSettings(f"{path} does not exist")


def site_rules(file: Path | None) -> tuple[SiteRule, ...]:
    """The routing rules in a file, none for None; raise BadSettings."""
    from worker.intake.site import load_site_rules

    return () if file is None else load_site_rules(file)


def writable(folder: Path) -> None:
    """Create an output folder before the long computation starts; raise BadSettings."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadSettings(f"cannot create {folder}: {error.strerror}") from error


def print_json(content: dict[str, Any]) -> None:
    """Print JSON and nothing else."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


def print_path(label: str, path: Path) -> None:
    """Print a path on one line, so that it can be copied."""
    stdout().print(f"{label:10}{path}", soft_wrap=True, highlight=False, markup=False)


def stdout() -> Console:
    """The console for results: a file or a pipe has no width at which tables would be cut."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _UNLIMITED
    return console


def stderr() -> Console:
    """The console for progress and messages; no progress is drawn without a terminal."""
    return Console(stderr=True)


def print_skipped(study: str, error: LumbarError) -> None:
    """Print on stderr that a study was skipped, and why."""
    stderr().print(Text(f"skipped {study}: {error}", style="yellow"), soft_wrap=True)


@contextmanager
def study_progress(archive: SearchableArchive) -> Iterator[Callable[[StudyEntry], None]]:
    """A progress bar over the studies of an archive: call the function with each of them."""
    console = stderr()
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("listing studies"):
        total = sum(1 for _ in archive.studies())
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task("reading records", total=total)
        yield lambda _: progress.advance(task)
