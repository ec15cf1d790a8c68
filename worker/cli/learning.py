"""The verb of the ML engineer: train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.shell import Device, app, existing, print_path, stdout, writable


@app.command(
    epilog="Example:  lumbar train --data DATA --out MY_BUNDLE --runs runs\n\n"
    "lumbar grade STUDY --bundle MY_BUNDLE"
)
def train(
    data: Annotated[
        Path,
        typer.Option(
            help="Folder with sagittal_t1, axial_t2_crops, sagittal_t2 (each with an index.csv) "
            "and rsna_2024 (the challenge's tables)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the bundle.")],
    runs: Annotated[
        Path, typer.Option(help="Folder for checkpoints: a broken run goes on from there.")
    ] = Path("runs"),
    recipe: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A recipe.toml of your own.")
    ] = None,
    name: Annotated[str, typer.Option(help="The bundle's name.")] = "default",
    device: Device = "auto",
) -> None:
    """Train the four networks, calibrate them on studies kept out, and write a bundle.

    About an hour and a half on two cores. What is finished is not trained again.
    """
    existing(data)
    if recipe is not None:
        existing(recipe)
    writable(out)
    from worker.training.bundling import make_bundle
    from worker.training.recipe import RECIPE, read_recipe

    settings = read_recipe(recipe or RECIPE)
    card = make_bundle(data, out, runs, settings, name=name, device=device)
    for part, figures in card["figures"].items():
        said = ", ".join(f"{figure} {value}" for figure, value in figures.items())
        stdout().print(f"{part}: {said}", highlight=False)
    print_path("bundle", out)
