"""The subcommands of `lumbar evaluate`: foraminal, axial, levels, rsna, recogniser."""

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
    from worker.models.bundle import Bundle

    Sheets = tuple[GradeSheet | None, PointSheet | None]
    Observe = Callable[[int, int], None]
    Predict = Callable[[Path, Bundle, Observe], Sheets]

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
    """Evaluate a model bundle on labelled images; every metric has a 95 % interval.

    Studies of the training data are predicted only by the networks that were not trained on
    them; the output states their number. `--out` writes index.html, metrics.json and
    predictions.csv.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder with the images and their labels.")
]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Write index.html, metrics.json and predictions.csv here."),
]


def _foraminal(path: Path, models: Bundle, observe: Observe) -> Sheets:
    from worker.evaluation.sources import foraminal

    return foraminal(path, models, observe), None


def _axial(path: Path, models: Bundle, observe: Observe) -> Sheets:
    from worker.evaluation.sources import axial

    return axial(path, models, observe), None


def _levels(path: Path, models: Bundle, observe: Observe) -> Sheets:
    from worker.evaluation.sources import levels

    return None, levels(path, models, observe)


def _rsna(path: Path, models: Bundle, observe: Observe) -> Sheets:
    from worker.evaluation.studies import rsna

    return rsna(path, models, observe)


def _add_command(name: str, example: str, predict: Predict, description: str) -> None:
    """Add `lumbar evaluate NAME`; `name` is a value of `worker.evaluation.results.Task`."""

    @evaluating.command(
        name,
        help=description,
        epilog=f"Example:  lumbar evaluate {name} {example} --out EVALUATION",
    )
    def command(
        folder: Folder,
        out: Out = None,
        as_json: AsJson = False,
        bundle: BundleFolder = None,
        device: Device = "auto",
    ) -> None:
        _evaluate(name, predict, folder, bundle, device, out, as_json)


_add_command(
    "foraminal",
    "DATA/sagittal_t1",
    _foraminal,
    "Grade the foramina of sagittal T1 slices at their marked points.\n\n"
    "index.csv has the columns study_id, file, side, level, severity (0, 1, 2), x_fraction, "
    "y_fraction, height and width.",
)
_add_command(
    "axial",
    "DATA/axial_t2_crops",
    _axial,
    "Grade the canal and both subarticular recesses on axial T2 crops, listed in index.csv.",
)
_add_command(
    "levels",
    "DATA/sagittal_t2",
    _levels,
    "Find and name the levels of sagittal slices, from the image alone.\n\n"
    "Levels on T1 slices are compared with the marked foramina, those on T2 slices with the discs "
    "of their masks. A level is correct within 4 % of the width, a study if all its marked points "
    "are correct.",
)
_add_command(
    "rsna",
    "DATA/rsna_2024",
    _rsna,
    "Grade whole studies in the layout of the RSNA 2024 challenge with the whole pipeline.\n\n"
    "The folder holds train.csv, train_label_coordinates.csv, train_series_descriptions.csv and "
    "train_images/STUDY/SERIES/N.dcm.",
)


@evaluating.command(epilog="Example:  lumbar evaluate recogniser DATA --json | jq .figures")
def recogniser(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="Folder with any of sagittal_t1, sagittal_t2, rsna_2024."
        ),
    ],
    every: Annotated[int, typer.Option(min=1, help="Use every n-th slice only.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Count how many slices of known weighting the recogniser decides, and how many wrongly.

    Includes phantoms and inverted slices. The limits were chosen on the calibration halves and
    tightened after results on the test halves.
    """
    existing(data)
    from dataclasses import asdict

    from worker.evaluation.recogniser_evaluation import (
        known_slices,
        recognise_slices,
        recognition_counts,
    )
    from worker.recognise.recogniser import packaged

    with stderr().status("running the recogniser"):
        counts = recognition_counts(recognise_slices(known_slices(data)[::every], packaged()))
    if as_json:
        print_json({"figures": [asdict(one) for one in counts]})
        return
    table = Table(box=None)
    for name in ("source", "weighting", "slices", "studies", "decided", "wrong"):
        table.add_column(name, justify="left" if name in ("source", "weighting") else "right")
    for one in counts:
        numbers = (one.slices, one.studies, one.decided, one.wrong)
        table.add_row(one.source, one.truth or "none", *map(str, numbers))
    stdout().print(table)


def _evaluate(
    name: str,
    predict: Predict,
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

        # A missing library is reported before the long computation, not after it.
        for library in LIBRARIES:
            extra(library)
        from worker.approaches import load_bundle
        from worker.evaluation.evaluate import evaluate
        from worker.evaluation.evaluation_files import write_evaluation
        from worker.evaluation.evaluation_table import evaluation_table
        from worker.evaluation.metrics_json import as_json as metrics_json
        from worker.evaluation.results import RunInfo, Task

        models = load_bundle(bundle, device)
    identity = models.identity
    inputs: dict[str, Any] = {
        "folder": str(folder),
        "bundle": None if bundle is None else str(bundle),
        "device": str(models.runner.device),
    }
    run = RunInfo(identity.name, identity.version, identity.sha256, inputs)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = stderr()
    with Progress(
        *(*columns, TimeRemainingColumn()),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        grades, points = predict(folder, models, _observer(progress, "predicting"))
        evaluation = evaluate(
            Task(name), grades, points, observe=_observer(progress, "metrics and intervals")
        )
    _print_problems(evaluation.problems)
    written = None
    if out is not None:
        with console.status("writing"):
            written = write_evaluation(evaluation, run, out)
    if as_json:
        print_json(metrics_json(evaluation, run))
        return
    stdout().print(evaluation_table(evaluation, run))
    if written is not None:
        print_path("page", written.page)
        print_path("metrics", written.metrics)
        print_path("grades" if grades is not None else "points", written.predictions)
        if written.points is not None:
            print_path("points", written.points)


def _observer(progress: Progress, description: str) -> Callable[[int, int], None]:
    bar = progress.add_task(description, total=None)
    return lambda done, total: progress.update(bar, completed=done, total=total)


def _print_problems(problems: tuple[str, ...]) -> None:
    console = stderr()
    for problem in problems[:SHOWN_PROBLEMS]:
        console.print(problem, soft_wrap=True, highlight=False, markup=False)
    if (more := len(problems) - SHOWN_PROBLEMS) > 0:
        console.print(f"and {more:,} more such rows", highlight=False)
