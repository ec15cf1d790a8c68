"""The subcommands phantom, models and serve."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from worker.cli.shell import (
    AsJson,
    BundleFolder,
    app,
    print_json,
    print_path,
    stderr,
    stdout,
    writable,
)
from worker.errors import BundleMismatch


class SliceSet(StrEnum):
    """The number of slices of a phantom."""

    SMALL = "small"
    STANDARD = "standard"


@app.command(
    epilog='Example:  lumbar phantom DEMO --seed 1 --lesion "L4/L5 left subarticular '
    'stenosis=severe" --lesion "L3/L4 spinal canal stenosis=moderate"'
)
def phantom(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Output folder.")],
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed; the same seed gives the same study.")
    ],
    lesion: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TARGET=SEVERITY",
            help="Repeatable; all other targets are normal. Without this option the severities "
            "are random.",
        ),
    ] = None,
    slices: Annotated[
        SliceSet, typer.Option(help="small: about 30 slices, standard: about 100.")
    ] = (SliceSet.STANDARD),
) -> None:
    """Write a synthetic study with known truth in the layout of the RSNA 2024 challenge."""
    from worker.phantom.lesions import parse_lesion
    from worker.phantom.protocol import SMALL, STANDARD
    from worker.phantom.study import make_phantom
    from worker.phantom.writing import write_phantom

    lesions = dict(parse_lesion(text) for text in lesion) if lesion else None
    writable(out)
    with stderr().status("rendering the phantom"):
        counts = {SliceSet.SMALL: SMALL, SliceSet.STANDARD: STANDARD}[slices]
        made = make_phantom(seed, lesions, slices=counts)
        write_phantom(made, out)
    print_path("study", out / "train_images" / made.study_instance_uid)
    print_path("truth", out / "truth.json")


@app.command(epilog="Example:  LUMBAR_ORTHANC_URL=http://pacs:8042 lumbar serve")
def serve(
    settings: Annotated[
        bool, typer.Option("--settings", help="List the environment variables and exit.")
    ] = False,
) -> None:
    """Run the worker: take studies from the queue, grade them and store their reports.

    All settings are LUMBAR_* environment variables.
    """
    from worker.settings import PREFIX, Settings

    if settings:
        table = Table(box=None)
        table.add_column("Variable", no_wrap=True)
        table.add_column("Default", overflow="fold")
        table.add_column("Description", overflow="fold")
        for name, field in Settings.model_fields.items():
            default = "" if field.default is None else str(field.default)
            table.add_row(f"{PREFIX}{name.upper()}", default, field.description)
        stdout().print(table)
        return
    from worker.service.app import serve as run

    raise typer.Exit(run(Settings.load()))


@app.command(hidden=True)
def supervise(
    metrics_fd: Annotated[
        int | None, typer.Option(help="File descriptor of the children's metric events.")
    ] = None,
    models: Annotated[str, typer.Option(help="SHA-256 of the children's bundle.")] = "",
) -> None:
    """Supervise a worker; `lumbar serve` starts it: retries, reconciliation, forwarding."""
    from worker.service.supervisor_process import supervise as run
    from worker.settings import Settings

    run(Settings.load(), metrics_fd, models)


@app.command(epilog="Example:  lumbar models --bundle MY_BUNDLE")
def models(bundle: BundleFolder = None, as_json: AsJson = False) -> None:
    """Show a model bundle: its networks, the state of their files, and its figures."""
    from worker.approaches import inspect_bundle
    from worker.report.terminal_tables import bundle_table

    inspected = inspect_bundle(bundle)
    if as_json:
        print_json(
            {
                "folder": str(inspected.folder),
                "identity": dataclasses.asdict(inspected.identity),
                "card": inspected.card.model_dump(mode="json", by_alias=True),
                "networks": [dataclasses.asdict(network) for network in inspected.networks],
            }
        )
    else:
        stdout().print(bundle_table(inspected))
    if broken := [network.file for network in inspected.networks if not network.intact]:
        raise BundleMismatch(
            f"missing file or wrong checksum: {', '.join(broken)}; reinstall the bundle"
        )
