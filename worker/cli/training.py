"""The verbs of training: train localiser, grader, bundle, recogniser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.shell import Device, app, existing, print_path, stdout, writable
from worker.errors import BadSettings

if TYPE_CHECKING:
    from worker.models.seam import Approach
    from worker.training.data import TrainingData
    from worker.training.members import RunConfig

training = typer.Typer(
    name="train",
    epilog="Everything, from nothing to a bundle:\n\n"
    "lumbar train bundle --data DATA --out MY_BUNDLE\n\n"
    "lumbar grade STUDY --bundle MY_BUNDLE",
    rich_markup_mode="markdown",
)
app.add_typer(training)


@training.callback(invoke_without_command=True)
def train(context: typer.Context) -> None:
    """Train networks on labelled MRI; an interrupted run is resumed from its last epoch.

    Studies are grouped into folds by the crc32 of their id. Each fold that a recipe names
    gets a member that is not trained on it. Runs keep checkpoints, metrics.csv,
    TensorBoard events and curves.png.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


Data = Annotated[
    Path | None,
    typer.Option(
        help="Folder with any of sagittal_t1, axial_t2_crops, sagittal_t2 (each with an index.csv) "
        "and rsna_2024, or the challenge's own folder. Without it, phantoms alone are used.",
    ),
]
Runs = Annotated[Path, typer.Option(help="Folder for checkpoints and finished members.")]
Config = Annotated[
    Path, typer.Option("--config", metavar="FILE", help="A recipe; see worker/training/recipes.")
]
Fold = Annotated[
    list[int] | None,
    typer.Option(help="Repeatable: only the member that is not trained on this fold."),
]
Devices = Annotated[int, typer.Option(min=1, help="How many devices share the work (DDP).")]


@training.command(
    epilog="Example:  lumbar train localiser --data DATA "
    "--config worker/training/recipes/sagittal_points.toml"
)
def localiser(
    config: Config,
    data: Data = None,
    runs: Runs = Path("runs"),
    fold: Fold = None,
    device: Device = "auto",
    devices: Devices = 1,
) -> None:
    """Train a network of a localiser: sagittal_points (discs, canal, foramina) or axial_points."""
    _train_one(True, config, data, runs, fold, device, devices)


@training.command(
    epilog="Example:  lumbar train grader --data DATA "
    "--config worker/training/recipes/foraminal_grades.toml --fold 0"
)
def grader(
    config: Config,
    data: Data = None,
    runs: Runs = Path("runs"),
    fold: Fold = None,
    device: Device = "auto",
    devices: Devices = 1,
) -> None:
    """Train a network of a grader: foraminal_grades, or axial_grades (starts from the former)."""
    _train_one(False, config, data, runs, fold, device, devices)


@training.command(epilog="Example:  lumbar train bundle --data DATA --out MY_BUNDLE --runs runs")
def bundle(
    out: Annotated[Path, typer.Option(help="Folder for the bundle.")],
    data: Data = None,
    runs: Runs = Path("runs"),
    recipes: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Recipes of your own (and approach.toml); packaged recipes are used for the rest.",
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="The bundle's name.")] = "default",
    device: Device = "auto",
    devices: Devices = 1,
) -> None:
    """Train every member of every network, calibrate, measure, and write a bundle.

    About an hour and a half on two cores. Finished members are not trained again; every figure on
    the card is out of fold.
    """
    from worker.training.recipe import read_recipes

    # Before anything is read: a recipe that cannot run is refused at once.
    approach, chosen = read_recipes(recipes)

    def work(read: TrainingData, config: RunConfig) -> None:
        from worker.training.bundling import make_bundle
        from worker.training.model_card import headlines

        card = make_bundle(read, out, config, approach, chosen, name=name)
        for line in headlines(card):
            stdout().print(line, highlight=False)
        print_path("bundle", out)

    _run(work, approach, data, (out, runs), device, devices)


@training.command(epilog="Example:  lumbar train recogniser --data DATA --out RECOGNISER")
def recogniser(
    data: Annotated[Path, typer.Option(help="Folder with sagittal_t2.")],
    out: Annotated[Path, typer.Option(help="Folder for weights.safetensors.")],
    seed: Annotated[int, typer.Option(help="Seed of the weights and of the samples.")] = 0,
) -> None:
    """Train the network that recognises T2 where headers do not give the weighting.

    Five minutes on an idle core. The packaged weights are named by their SHA-256 in
    worker/recognise/recogniser.py; `lumbar evaluate recogniser` measures those.
    """
    existing(data)
    writable(out)
    from worker.recognise.recogniser import WEIGHTS
    from worker.training.members import save_network
    from worker.training.outlines import fit, read_samples

    save_network(fit(read_samples(data), seed), out / WEIGHTS)
    print_path("weights", out / WEIGHTS)


def _train_one(
    localises: bool,
    config: Path,
    data: Path | None,
    runs: Path,
    folds: list[int] | None,
    device: str,
    devices: int,
) -> None:
    from worker.models.seam import NetworkKind
    from worker.training.recipe import check_recipe, known_networks, read_approach, read_recipe

    existing(config)
    recipe, approach = read_recipe(config), read_approach(config.parent)
    networks = {**known_networks(), **approach.networks}
    grades = check_recipe(recipe, networks).kind in (NetworkKind.GRADES, NetworkKind.CLASSES)
    if grades is localises:
        verb = "grader" if grades else "localiser"
        raise BadSettings(f"{config} trains {recipe.network}: use lumbar train {verb}")

    def work(read: TrainingData, run: RunConfig) -> None:
        from worker.training.members import train as train_members

        files, _ = train_members(recipe, networks, read, run, folds)
        for file in files:
            print_path("member", file)
            print_path("curves", file.parent / "curves.png")

    _run(work, approach, data, (runs,), device, devices)


def _run(
    work: Callable[[TrainingData, RunConfig], Any],
    approach: Approach,
    data: Path | None,
    folders: tuple[Path, ...],
    device: str,
    devices: int,
) -> None:
    """Check all that can be checked before the long work, then do it.

    Samples are cut with the options of `approach`. `folders` are made; the last one holds the
    runs.
    """
    if data is not None:
        existing(data)
    for folder in folders:
        writable(folder)
    runs = folders[-1]
    from worker.models.device import choose_device
    from worker.training.data import TrainingData
    from worker.training.members import RunConfig
    from worker.training.samples import SampleOptions

    choose_device(device)
    progress = stdout().is_terminal
    work(
        TrainingData(data, runs, SampleOptions.of(approach)),
        RunConfig(runs, device, devices, progress),
    )
