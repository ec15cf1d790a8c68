"""The verbs that measure models: evaluate foraminal, axial, levels, rsna, recogniser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from worker.cli.shell import (
    AsJson,
    BundleFolder,
    Device,
    app,
    existing,
    print_json,
    print_path,
    stderr,
    stdout,
    writable,
)

if TYPE_CHECKING:
    from worker.evaluation.predictions import GradeSheet, PointSheet
    from worker.evaluation.results import Task
    from worker.models.loading import Bundle

    Sheets = tuple[GradeSheet | None, PointSheet | None]
    Read = Callable[[Path, Bundle, Callable[[int, int], None]], Sheets]

SHOWN_PROBLEMS: Final = 20
LIBRARIES: Final = ("matplotlib", "torchmetrics", "pycocotools")

evaluating = typer.Typer(
    name="evaluate",
    epilog="Examples:\n\n"
    "lumbar evaluate foraminal DATA/sagittal_t1 --out EVALUATION\n\n"
    "lumbar evaluate axial DATA/axial_t2_crops --json | jq .bars",
    rich_markup_mode="markdown",
)
app.add_typer(evaluating)


@evaluating.callback(invoke_without_command=True)
def evaluate(context: typer.Context) -> None:
    """Measure a model bundle on labelled pictures, each figure with a 95 % interval.

    A study that a network learnt from is predicted only by the networks that did not, and
    the output says how many there were. `--out` gets index.html, metrics.json and
    predictions.csv, which anyone can score again.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder with pictures and their index.csv.")
]
Challenge = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        help="train.csv, train_label_coordinates.csv, train_series_descriptions.csv and "
        "train_images/STUDY/SERIES/N.dcm.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Write index.html, metrics.json and predictions.csv here."),
]


@evaluating.command(epilog="Example:  lumbar evaluate foraminal DATA/sagittal_t1 --out EVALUATION")
def foraminal(
    folder: Folder,
    out: Out = None,
    as_json: AsJson = False,
    bundle: BundleFolder = None,
    device: Device = "auto",
) -> None:
    """Grade the foramina of sagittal T1 slices at their marked points.

    The index names study_id, file, side, level, severity (0, 1, 2), x_fraction, y_fraction,
    height and width.
    """
    from worker.evaluation.results import Task

    def read(path: Path, models: Bundle, observe: Callable[[int, int], None]) -> Sheets:
        from worker.evaluation.sources import foraminal

        return foraminal(path, models, observe), None

    _evaluate(Task.FORAMINAL, read, folder, bundle, device, out, as_json)


@evaluating.command(epilog="Example:  lumbar evaluate axial DATA/axial_t2_crops --out EVALUATION")
def axial(
    folder: Folder,
    out: Out = None,
    as_json: AsJson = False,
    bundle: BundleFolder = None,
    device: Device = "auto",
) -> None:
    """Grade canal and both subarticular recesses on axial T2 crops."""
    from worker.evaluation.results import Task

    def read(path: Path, models: Bundle, observe: Callable[[int, int], None]) -> Sheets:
        from worker.evaluation.sources import axial

        return axial(path, models, observe), None

    _evaluate(Task.AXIAL, read, folder, bundle, device, out, as_json)


@evaluating.command(epilog="Example:  lumbar evaluate levels DATA/sagittal_t2 --out EVALUATION")
def levels(
    folder: Folder,
    out: Out = None,
    as_json: AsJson = False,
    bundle: BundleFolder = None,
    device: Device = "auto",
) -> None:
    """Find and name the levels of sagittal slices, from the picture alone.

    Slices of T1 are compared with the marked foramina, those of T2 with the discs of their
    masks. A level is right within 4 % of the width, a study when all its marked points are.
    """
    from worker.evaluation.results import Task

    def read(path: Path, models: Bundle, observe: Callable[[int, int], None]) -> Sheets:
        from worker.evaluation.sources import levels

        return None, levels(path, models, observe)

    _evaluate(Task.LEVELS, read, folder, bundle, device, out, as_json)


@evaluating.command(epilog="Example:  lumbar evaluate rsna DATA/rsna_2024 --out EVALUATION")
def rsna(
    folder: Challenge,
    out: Out = None,
    as_json: AsJson = False,
    bundle: BundleFolder = None,
    device: Device = "auto",
) -> None:
    """Grade whole studies in the layout of the RSNA 2024 challenge, by the whole pipeline."""
    from worker.evaluation.results import Task

    def read(path: Path, models: Bundle, observe: Callable[[int, int], None]) -> Sheets:
        from worker.evaluation.studies import rsna

        return rsna(path, models, observe)

    _evaluate(Task.RSNA, read, folder, bundle, device, out, as_json)


@evaluating.command(epilog="Example:  lumbar evaluate recogniser DATA --json | jq .figures")
def recogniser(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="Folder with any of sagittal_t1, sagittal_t2, rsna_2024."
        ),
    ],
    every: Annotated[int, typer.Option(min=1, help="Look at every n-th slice.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Show slices of known weighting to the recogniser: how many it calls T2, how many wrongly.

    Phantoms and inverted slices too. The limits were chosen on the calibration halves and
    tightened after a look at the test halves.
    """
    existing(data)
    from dataclasses import asdict

    from worker.evaluation.recognition import figures, known_slices, look_at
    from worker.recognise.recogniser import packaged

    with stderr().status("looking"):
        found = figures(look_at(known_slices(data)[::every], packaged()))
    if as_json:
        print_json({"figures": [asdict(one) for one in found]})
        return
    table = Table(box=None)
    for name in ("source", "weighting", "slices", "studies", "decided", "wrong"):
        table.add_column(name, justify="left" if name in ("source", "weighting") else "right")
    for one in found:
        counts = (one.slices, one.studies, one.decided, one.wrong)
        table.add_row(one.source, one.truth or "none", *map(str, counts))
    stdout().print(table)


def _evaluate(
    task: Task,
    read: Read,
    folder: Path,
    bundle: Path | None,
    device: str,
    out: Path | None,
    as_json: bool,
) -> None:
    existing(folder)
    if out is not None:
        writable(out)
    with stderr().status("loading the models"):
        from worker.evaluation.extras import extra

        # What is missing is said now, not after the long work.
        for library in LIBRARIES:
            extra(library)
        from worker.evaluation import evaluate as measuring
        from worker.evaluation.evaluation_table import evaluation_table
        from worker.evaluation.metrics_json import as_json as metrics
        from worker.evaluation.results import RunInfo
        from worker.evaluation.writing import write_evaluation
        from worker.models.loading import load_bundle

        models = load_bundle(bundle, device)
    identity = models.identity
    inputs: dict[str, Any] = {
        "folder": str(folder),
        "bundle": None if bundle is None else str(bundle),
        "device": str(models.device),
    }
    about = RunInfo(identity.name, identity.version, identity.sha256, inputs)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = stderr()
    with Progress(
        *(*columns, TimeRemainingColumn()),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        grades, points = read(folder, models, _observer(progress, "predicting"))
        evaluation = measuring.evaluate(
            task, grades, points, observe=_observer(progress, "figures and intervals")
        )
    _say_problems(evaluation.problems)
    written = None
    if out is not None:
        with console.status("writing"):
            written = write_evaluation(evaluation, about, out)
    if as_json:
        print_json(metrics(evaluation, about))
        return
    stdout().print(evaluation_table(evaluation, about))
    if written is not None:
        print_path("page", written.page)
        print_path("figures", written.metrics)
        print_path("grades" if grades is not None else "points", written.predictions)
        if written.points is not None:
            print_path("points", written.points)


def _observer(progress: Progress, what: str) -> Callable[[int, int], None]:
    bar = progress.add_task(what, total=None)
    return lambda done, total: progress.update(bar, completed=done, total=total)


def _say_problems(problems: tuple[str, ...]) -> None:
    console = stderr()
    for problem in problems[:SHOWN_PROBLEMS]:
        console.print(problem, soft_wrap=True, highlight=False, markup=False)
    if (more := len(problems) - SHOWN_PROBLEMS) > 0:
        console.print(f"and {more:,} more such rows", highlight=False)
