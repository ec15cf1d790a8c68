"""From the training data to a bundle: samples, four fits, calibration, card."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog
from safetensors.torch import load_file, save_file
from torch import nn

from worker.bundles.networks import ARCHITECTURES
from worker.datasets.axial import read_axial
from worker.datasets.discs import read_masked_slices
from worker.datasets.foraminal import read_foraminal
from worker.datasets.rsna import read_coordinates, recess_points
from worker.datasets.tables import Table, fold_of
from worker.errors import BadSettings
from worker.grade import windows as grade_windows
from worker.localise.windows import AXIAL_POINTS, AXIAL_SHAPE, SAGITTAL_SHAPE, AxialPoint
from worker.phantom.lesions import TRAINING
from worker.training import real
from worker.training.augment import Geometry, Intensity
from worker.training.fitting import Run, fit
from worker.training.modules import GradeModule, PointModule
from worker.training.pretrained import start_from_imagenet
from worker.training.samples import GradeSet, PointSet, join_grades, join_points
from worker.training.synthetic import PhantomSamples, join_samples, phantom_samples

log = structlog.get_logger()

RECIPE: Final = Path(__file__).with_name("recipe.toml")
GRADER_HELD_OUT: Final = 0
LOCALISER_HELD_OUT: Final = 4
PHANTOMS_HELD_OUT: Final = 20
"""The last phantoms of a recipe are for validation."""


@dataclass(frozen=True, eq=False)
class GradedSamples:
    """What the data folder gives to the graders, all studies."""

    foraminal_grades: GradeSet
    axial_grades: GradeSet


@dataclass(frozen=True, eq=False)
class RealSamples(GradedSamples):
    """What the data folder gives to each network, all studies."""

    foraminal_slices: PointSet
    disc_slices: PointSet
    axial_points: PointSet


def read_recipe(path: Path = RECIPE) -> dict[str, Any]:
    """Read a recipe; raises `BadSettings` when it is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{path} is no recipe: {error}") from error


def read_graded(data: Path) -> GradedSamples:
    """Read the crops with grades of a data folder; problems are logged by file and line."""
    return GradedSamples(
        real.foraminal_grades(_rows(read_foraminal(data / "sagittal_t1"))),
        real.axial_grades(_rows(read_axial(data / "axial_t2_crops"))),
    )


def read_real(data: Path) -> RealSamples:
    """Read every training set of a data folder; problems are logged by file and line."""
    foraminal = _rows(read_foraminal(data / "sagittal_t1"))
    axial = _rows(read_axial(data / "axial_t2_crops"))
    masked = _rows(read_masked_slices(data / "sagittal_t2"))
    recesses = recess_points(read_coordinates(data / "rsna_2024"))
    return RealSamples(
        foraminal_grades=real.foraminal_grades(foraminal),
        axial_grades=real.axial_grades(axial),
        foraminal_slices=real.foraminal_points(foraminal),
        disc_slices=real.disc_slices(masked),
        axial_points=real.canal_points(axial, recesses),
    )


def make_phantoms(first_seed: int, count: int, processes: int = 2) -> PhantomSamples:
    """The samples of `count` phantoms, rich in lesions."""
    # A forked child of a process with torch in it can hang: start afresh.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        seeds = range(first_seed, first_seed + count)
        return join_samples(pool.map(partial(phantom_samples, prevalence=TRAINING), seeds))


def train_network(
    name: str,
    recipe: Mapping[str, Any],
    samples: RealSamples,
    phantoms: PhantomSamples,
    runs: Path,
    *,
    device: str = "auto",
    progress: bool = True,
) -> Path:
    """Fit one network of a bundle and keep its weights; a finished one is not fitted again.

    Returns the safetensors file (float16). An unfinished run resumes at its last epoch.
    """
    folder = runs / name
    weights = folder / f"{name}.safetensors"
    if weights.exists():
        return weights
    settings = recipe[name]
    module = _module(name, settings)
    start_from_imagenet(module.network.get_submodule("encoder"))
    training, validation = _split(name, recipe, samples, phantoms)
    per_epoch = settings.get("samples") or round(float(training.shares.sum()))
    run = Run(
        folder,
        settings["epochs"],
        per_epoch,
        settings["batch"],
        device=device,
        progress=progress,
    )
    log.info("training", network=name, samples=len(training), validation=len(validation))
    network = fit(module, training, validation, run)
    save_network(network, weights)
    return weights


def save_network(network: nn.Module, path: Path) -> None:
    """Write a network's weights as float16 safetensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = network.state_dict()
    save_file(
        {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in state.items()},
        path,
    )


def load_network(settings: Mapping[str, Any], path: Path) -> nn.Module:
    """Read back what `save_network` wrote, ready to run on the CPU."""
    network = ARCHITECTURES[settings["architecture"]](settings["outputs"])
    network.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}
    )
    return network.eval()


def _rows(table: Table[Any]) -> tuple[Any, ...]:
    for problem in table.problems:
        log.warning("row skipped", problem=problem)
    return table.rows


def _module(name: str, settings: Mapping[str, Any]) -> PointModule | GradeModule:
    geometry = Geometry(**settings["geometry"])
    intensity = Intensity(**settings["intensity"])
    common = {k: settings[k] for k in ("architecture", "rate", "decay")}
    outputs = settings["outputs"]
    if name == "sagittal_points":
        return PointModule(outputs, SAGITTAL_SHAPE, geometry, intensity, **common)
    if name == "axial_points":
        mirrored = tuple(AXIAL_POINTS.index(_MIRROR[point]) for point in AXIAL_POINTS)
        return PointModule(
            outputs, AXIAL_SHAPE, geometry, intensity, mirrored_points=mirrored, **common
        )
    sided = name == "axial_grades"
    shape = grade_windows.AXIAL_SHAPE if sided else grade_windows.FORAMINAL_SHAPE
    return GradeModule(outputs, shape, geometry, intensity, sided=sided, **common)


_MIRROR: Final = {
    AxialPoint.CANAL: AxialPoint.CANAL,
    AxialPoint.LEFT_RECESS: AxialPoint.RIGHT_RECESS,
    AxialPoint.RIGHT_RECESS: AxialPoint.LEFT_RECESS,
}


def held_out(name: str, recipe: Mapping[str, Any]) -> Callable[[str], bool]:
    """Whether a study (or phantom) is kept out of the training of one network."""
    last: int = recipe["first_seed"] + recipe["phantoms"] - PHANTOMS_HELD_OUT
    folds, kept = (
        (recipe["localiser_folds"], LOCALISER_HELD_OUT)
        if name == "sagittal_points"
        else (recipe["folds"], GRADER_HELD_OUT)
    )

    def kept_out(study: str) -> bool:
        if study.startswith("phantom"):
            return int(study.removeprefix("phantom")) >= last
        return fold_of(study, folds) == kept

    return kept_out


def _split(
    name: str, recipe: Mapping[str, Any], samples: RealSamples, phantoms: PhantomSamples
) -> tuple[PointSet, PointSet] | tuple[GradeSet, GradeSet]:
    shares = recipe[name]["shares"]
    kept_out = held_out(name, recipe)
    if name in {"sagittal_points", "axial_points"}:
        parts = (
            {
                "foraminal": samples.foraminal_slices,
                "discs": samples.disc_slices,
                "phantoms": phantoms.sagittal_points,
            }
            if name == "sagittal_points"
            else {"real": samples.axial_points, "phantoms": phantoms.axial_points}
        )
        points = join_points(_shared(part, shares[key]) for key, part in parts.items())
        return points.where(lambda study: not kept_out(study)), points.where(kept_out)
    graded = {"real": getattr(samples, name), "phantoms": getattr(phantoms, name)}
    grades = join_grades(_shared(part, shares[key]) for key, part in graded.items())
    return grades.where(lambda study: not kept_out(study)), grades.where(kept_out)


def _shared(part: Any, share: float) -> Any:  # noqa: ANN401 - either kind of set
    return replace(part, shares=np.full(len(part), share, dtype=np.float32))
