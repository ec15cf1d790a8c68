"""One member of a network: fitted on all folds but one, and its weights kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import structlog
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dicom_sr.findings import Severity
from worker.datasets.folds import check_fold, fold_of
from worker.errors import BadSettings
from worker.grade import windows as grade_windows
from worker.localise.windows import (
    AXIAL_POINTS,
    AXIAL_SHAPE,
    SAGITTAL_POINTS,
    SAGITTAL_SHAPE,
    AxialPoint,
)
from worker.training.data import TrainingData
from worker.training.fitting import Run, fit
from worker.training.modules import GradeModule, PointModule
from worker.training.pretrained import over_slices, start_from_imagenet
from worker.training.recipe import IMAGENET, Recipe
from worker.training.samples import MISSING, GradeSet, PointSet

log = structlog.get_logger()

PHANTOM: Final = "phantom"
"""What the ids of phantoms begin with."""

MIRROR: Final = {
    AxialPoint.CANAL: AxialPoint.CANAL,
    AxialPoint.LEFT_RECESS: AxialPoint.RIGHT_RECESS,
    AxialPoint.RIGHT_RECESS: AxialPoint.LEFT_RECESS,
}
"""What each axial point is called once its patient is mirrored."""

TARGETS: Final = {
    "foraminal_grades": ("neural foraminal narrowing",),
    "axial_grades": ("spinal canal stenosis", "left subarticular", "right subarticular"),
}


@dataclass(frozen=True)
class Workshop:
    """Where and on what networks are trained: runs go to `runs`/NETWORK/foldN."""

    runs: Path
    device: str = "auto"
    devices: int = 1
    progress: bool = True

    def weights(self, network: str, fold: int) -> Path:
        """The file of a finished member."""
        return self.runs / network / f"fold{fold}" / f"{network}-{fold}.safetensors"


def train(
    recipe: Recipe, data: TrainingData, workshop: Workshop, folds: Sequence[int] | None = None
) -> tuple[list[Path], frozenset[str]]:
    """Fit the members of a recipe (those of `folds`, else all) and keep their weights.

    A finished member is not fitted again, an unfinished one goes on from its last epoch.
    Returns the weight files and the ids of the real studies. Raises `BadSettings` before
    anything is fitted when a fold cannot be trained or judged on.
    """
    samples = data.samples(recipe)
    chosen = recipe.held_out if folds is None else tuple(folds)
    if strange := set(chosen) - set(range(recipe.folds)):
        raise BadSettings(f"{recipe.network} has folds 0 to {recipe.folds - 1}, not {strange}")
    for fold in chosen:
        _check(recipe, samples, fold)
    files = []
    for fold in chosen:
        path = workshop.weights(recipe.network, fold)
        _same_recipe(recipe, path.parent)
        if path.exists():
            log.info("already trained", network=recipe.network, fold=fold)
        else:
            save_network(_fit(recipe, samples, fold, workshop), path)
        files.append(path)
    return files, frozenset(s for s in samples.studies if not s.startswith(PHANTOM))


def _same_recipe(recipe: Recipe, folder: Path) -> None:
    """Keep the recipe beside a run; raise `BadSettings` for a run of another one."""
    kept = folder / "recipe.json"
    if kept.is_file() and Recipe.model_validate_json(kept.read_text("utf-8")) != recipe:
        raise BadSettings(
            f"{folder} was trained by another recipe ({kept.name}): remove it, or name other --runs"
        )
    folder.mkdir(parents=True, exist_ok=True)
    kept.write_text(recipe.model_dump_json(indent=2), encoding="utf-8")


def save_network(network: nn.Module, path: Path) -> None:
    """Write a network's weights as float16 safetensors, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = network.state_dict()
    half = path.with_suffix(".half")
    save_file(
        {
            k: (v.half() if v.is_floating_point() else v).contiguous().cpu()
            for k, v in state.items()
        },
        half,
    )
    half.replace(path)


def _fit(recipe: Recipe, samples: PointSet | GradeSet, fold: int, workshop: Workshop) -> nn.Module:
    training, validation = split(samples, recipe.folds, fold)
    torch.manual_seed(recipe.seed)
    module = module_of(recipe)
    encoder = module.network.get_submodule("encoder")
    if recipe.start == IMAGENET:
        start_from_imagenet(encoder)
    elif recipe.start == "foraminal_grades":
        start = workshop.weights(recipe.start, fold)
        start_from_member(encoder, start, recipe.folds)
    run = Run(
        workshop.runs / recipe.network / f"fold{fold}",
        recipe.epochs,
        recipe.samples or round(float(training.shares.sum())),
        recipe.batch,
        seed=recipe.seed,
        device=workshop.device,
        devices=workshop.devices,
        patience=recipe.patience,
        progress=workshop.progress,
    )
    log.info(
        "training",
        network=recipe.network,
        held_out=f"fold {fold} of {recipe.folds}",
        samples=len(training),
        validation=len(validation),
    )
    return fit(module, training, validation, run)


def split(
    samples: PointSet | GradeSet, folds: int, fold: int
) -> tuple[PointSet, PointSet] | tuple[GradeSet, GradeSet]:
    """What is learnt from, and what a fold keeps out; phantoms judge only among themselves."""
    training = samples.where(lambda study: fold_of(study, folds) != fold)
    kept_out = samples.where(lambda study: fold_of(study, folds) == fold)
    real = kept_out.where(lambda study: not study.startswith(PHANTOM))
    validation = real if len(real) else kept_out
    return training, validation  # type: ignore[return-value]


def start_from_member(encoder: nn.Module, weights: Path, folds: int) -> None:
    """Fill an encoder with that of a member which the same studies were kept out of.

    Raises `BadSettings` when that member is not trained yet, or with other folds: it would
    have seen studies that are to judge.
    """
    if not weights.is_file():
        raise BadSettings(
            f"{weights} is missing: train the foraminal grader first, with the same --runs"
        )
    kept = weights.with_name("recipe.json")
    if kept.is_file():
        theirs = Recipe.model_validate_json(kept.read_text("utf-8")).folds
        if theirs != folds:
            raise BadSettings(f"{weights} keeps a fold of {theirs} out, not of {folds}")
    prefix = "encoder."
    state = {
        name.removeprefix(prefix): value.float() if value.is_floating_point() else value
        for name, value in load_file(weights).items()
        if name.startswith(prefix)
    }
    slices = encoder.state_dict()["conv_stem.weight"].shape[1]
    state["conv_stem.weight"] = over_slices(state["conv_stem.weight"], slices)
    encoder.load_state_dict(state)


def module_of(recipe: Recipe) -> PointModule | GradeModule:
    """What learns a recipe's network."""
    if recipe.network == "sagittal_points":
        return PointModule(OUTPUTS[recipe.network], SAGITTAL_SHAPE, recipe)
    if recipe.network == "axial_points":
        mirrored = tuple(AXIAL_POINTS.index(MIRROR[point]) for point in AXIAL_POINTS)
        return PointModule(OUTPUTS[recipe.network], AXIAL_SHAPE, recipe, mirrored_points=mirrored)
    sided = recipe.network == "axial_grades"
    shape = grade_windows.AXIAL_SHAPE if sided else grade_windows.FORAMINAL_SHAPE
    return GradeModule(OUTPUTS[recipe.network], shape, recipe, sided=sided)


OUTPUTS: Final = {
    "sagittal_points": len(SAGITTAL_POINTS),
    "axial_points": len(AXIAL_POINTS),
    "foraminal_grades": 1,
    "axial_grades": 2,
}
"""Points or targets of each network; the axial grader knows the canal and the left recess."""


def _check(recipe: Recipe, samples: PointSet | GradeSet, fold: int) -> None:
    grades = None
    if isinstance(samples, GradeSet):
        ranks = list(Severity)
        grades = {
            target: [None if rank == MISSING else ranks[rank] for rank in column]
            for target, column in zip(TARGETS[recipe.network], samples.labels.T, strict=True)
        }
    real = np.array([not s.startswith(PHANTOM) for s in samples.studies])
    if real.any():
        chosen = np.flatnonzero(real)
        studies = [samples.studies[n] for n in chosen]
        grades = grades and {t: [g[n] for n in chosen] for t, g in grades.items()}
    else:
        studies = list(samples.studies)
    check_fold(recipe.network, fold, recipe.folds, studies, grades)
