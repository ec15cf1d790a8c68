"""How often stage 1 trusts a series that is upside down, and how often it names levels wrongly.

Run as a program with the folder of training data. Each series is looked at as it is and upside
down. On midsagittal T2 with marked levels, a name is wrong where another level's mark lies nearer.
The axial series of whole studies and of phantoms are turned on their own.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from worker.threads import wait_passively

Series = tuple[str, list[tuple[int, Path, tuple[float, float]]], dict[str, tuple[float, float]]]
"""Study, its slices (number, file, original height and width), and marked levels as fractions."""

HEIGHT_MM = 300.0
"""Pictures have no scale; only proportions matter here."""


@dataclass
class Tally:
    """Counts of one source, and how well turned pictures fit, as a share of the upright ones."""

    counts: Counter[str] = field(default_factory=Counter)
    upright_shares: list[float] = field(default_factory=list)
    turned_shares: list[float] = field(default_factory=list)


def t1_series(folder: Path) -> Iterator[Series]:
    """The series of `sagittal_t1`."""
    found: defaultdict[tuple[str, str], dict[int, tuple[Path, tuple[float, float]]]]
    found = defaultdict(dict)
    with (folder / "index.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            place = folder / row["file"], (float(row["height"]), float(row["width"]))
            found[row["study_id"], row["series_id"]][int(row["instance_number"])] = place
    for (study, _), slices in found.items():
        yield study, [(n, *slices[n]) for n in sorted(slices)], {}


def midsagittal_series(folder: Path) -> Iterator[Series]:
    """The T2 slices of `midsagittal` with their marks."""
    found: defaultdict[tuple[str, Path], dict[str, tuple[float, float]]] = defaultdict(dict)
    sizes = {}
    with (folder / "index.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["weighting"] == "t2":
                key = row["study_id"], folder / row["file"]
                sizes[key] = float(row["height"]), float(row["width"])
                if row["level"]:
                    place = float(row["x_fraction"]), float(row["y_fraction"])
                    found[key][row["level"]] = place
    for (study, file), marks in found.items():
        yield study, [(0, file, sizes[study, file])], marks


def main() -> None:
    """Print the rates of each source."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with sagittal_t1 and midsagittal")
    parser.add_argument("--every", type=int, default=1, help="look at every n-th series")
    parser.add_argument(
        "--phantoms", type=int, default=40, help="phantoms with turned axial series"
    )
    options = parser.parse_args()
    wait_passively()
    console = Console()
    rows = {
        "T1, sagittal_t1": ("T1", list(t1_series(options.data / "sagittal_t1"))),
        "T2, midsagittal": ("T2", list(midsagittal_series(options.data / "midsagittal"))),
    }
    table = Table("", "T1, sagittal_t1", "T2, midsagittal")
    tallies = [
        measure(weighting, series[:: options.every], console) for weighting, series in rows.values()
    ]
    for name in (
        *("series", "upright: refused as turned", "upright: refused, all reasons"),
        *("upside down", "upside down: trusted", "named", "wrong name", "refused to name"),
    ):
        table.add_row(name, *(f"{tally.counts[name]}" for tally in tallies))
    for name, q in (("share, upright, 50 %", 50), ("99 %", 99), ("largest", 100)):
        table.add_row(name, *(f"{np.percentile(t.upright_shares, q):.2f}" for t in tallies))
    for name, q in (("share, upside down, smallest", 0), ("1 %", 1), ("50 %", 50)):
        table.add_row(name, *(f"{np.percentile(t.turned_shares, q):.2f}" for t in tallies))
    console.print(table)
    counts = turned_axial_series(options.data / "rsna_2024", options.phantoms, console)
    axial = Table("axial T2", "studies", "refused")
    for name in ("as it is", *AXIAL_TURNS):
        axial.add_row(name, f"{counts['studies']}", f"{counts[name]}")
    console.print(axial)


AXIAL_TURNS = {"back to front": (1,), "left to right": (2,), "both": (1, 2)}
"""The axes of the pixels that are reversed: 1 along rows, 2 along columns."""


def turned_axial_series(rsna: Path, phantoms: int, console: Console) -> Counter[str]:
    """How many axial series are refused as they are, and turned while the others are not."""
    from worker.archive.folder import FolderArchive
    from worker.intake.alignment import in_one_space
    from worker.intake.loading import load
    from worker.phantom import SMALL, make_phantom, write_phantom
    from worker.pipeline import route_study

    counts: Counter[str] = Counter()
    archive = FolderArchive()
    with tempfile.TemporaryDirectory() as folder:
        studies = [*rsna.glob("*_images/*")]
        for seed in track(range(300, 300 + phantoms), "phantoms", console=console, transient=True):
            studies.append(Path(folder, str(seed)))
            write_phantom(make_phantom(seed, slices=SMALL), studies[-1])
        for study in track(studies, "axial T2", console=console, transient=True):
            found = load(route_study(str(study), archive), archive.fetch)
            counts["studies"] += 1
            counts["as it is"] += not found.axial_t2
            for name, axes in AXIAL_TURNS.items():
                turned = tuple(replace(v, pixels=np.flip(v.pixels, axes)) for v in found.axial_t2)
                counts[name] += not in_one_space(replace(found, axial_t2=turned)).axial_t2
    return counts


def measure(weighting: str, series: list[Series], console: Console) -> Tally:
    """Look at every series upright and upside down."""
    from worker.approaches import load_bundle
    from worker.localise.heatmaps.level_checks import canal_problem, series_problem
    from worker.localise.heatmaps.orientation import turn_scores
    from worker.localise.heatmaps.peaks import decode_levels
    from worker.localise.heatmaps.views import sagittal_view
    from worker.localise.heatmaps.windows import (
        T1_STRUCTURES,
        T2_STRUCTURES,
        Structure,
        channels,
    )

    bundle = load_bundle(device="cpu")
    on_t2, limits = weighting == "T2", bundle.approach.localiser.options
    structures = T2_STRUCTURES if on_t2 else T1_STRUCTURES
    points = channels(Structure.CANAL if on_t2 else Structure.FORAMEN)
    tally = Tally()
    for _, slices, marks in track(series, weighting, console=console, transient=True):
        for upside_down in (False, True):
            view = sagittal_view(volume_of(slices, upside_down), bundle.runner)
            scores = view.scores[:, points].max(axis=0)
            levels = decode_levels(scores, limits)
            problem = (
                canal_problem(view, limits) if on_t2 else series_problem(scores, levels, limits)
            )
            upright, turned = turn_scores(view, structures, bundle.runner, limits)
            share = max(turned) / upright if upright else np.inf
            is_turned = share > limits.turned_share
            if upside_down:
                tally.turned_shares.append(min(share, 99))
                tally.counts["upside down"] += 1
                tally.counts["upside down: trusted"] += problem is None and not is_turned
                continue
            tally.upright_shares.append(min(share, 99))
            tally.counts["series"] += 1
            tally.counts["upright: refused as turned"] += problem is None and is_turned
            tally.counts["upright: refused, all reasons"] += problem is not None or is_turned
            if len(marks) == 5:
                if problem is not None or is_turned:
                    tally.counts["refused to name"] += 1
                else:
                    tally.counts["named"] += 1
                    tally.counts["wrong name"] += is_wrong(view, levels, marks)
    return tally


def volume_of(slices, upside_down):
    """The slices of a series as a volume, 4 mm apart."""
    from dicom_sr.findings import ImageReference
    from worker.datasets.pictures import read_picture
    from worker.domain.geometry import Plane
    from worker.domain.study import Role, SliceHeader
    from worker.domain.volume import Volume

    pictures = [read_picture(file) for _, file, _ in slices]
    shape = pictures[0].pixels.shape
    used = [(n, p) for n, p in enumerate(pictures) if p.pixels.shape == shape]
    headers = []
    height, width = slices[0][2]
    for n, _ in used:
        plane = Plane(
            (-4.0 * n, -100.0, 150.0),
            (0, 1, 0),
            (0, 0, -1),
            HEIGHT_MM / shape[0],
            HEIGHT_MM * width / height / shape[1],
            *shape,
        )
        headers.append(SliceHeader(str(n), ImageReference("1.2", f"1.2.{n + 1}"), n, plane))
    pixels = np.stack([p.pixels[::-1] if upside_down else p.pixels for _, p in used])
    return Volume(Role.SAGITTAL_T2, np.ascontiguousarray(pixels), tuple(headers))


def is_wrong(view, levels, marks) -> bool:
    """Whether another level's mark lies nearer to a named place than its own."""
    shape = view.volume.pixels.shape[1:]
    places = {name: np.array([x * shape[1], y * shape[0]]) for name, (x, y) in marks.items()}
    for level, peak in levels.items():
        found = np.array(view.crop.to_image_px(peak.column, peak.row))
        nearest = min(places, key=lambda name: np.linalg.norm(places[name] - found))
        if nearest != str(level):
            return True
    return False


if __name__ == "__main__":
    main()
