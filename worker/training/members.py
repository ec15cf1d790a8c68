"""One member of a network: trained on all folds but one, and its weights kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import structlog
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import nn

from dicom_sr.findings import Severity
from worker.datasets.folds import check_fold, fold_of
from worker.errors import BadSettings
from worker.models.seam import IMAGENET, SCRATCH, NetworkSpec
from worker.training.data import TrainingData, check_samples
from worker.training.fitting import Run, fit
from worker.training.modules import module_of
from worker.training.pretrained import ENCODER, fill, start_from_imagenet
from worker.training.recipe import Recipe, check_recipe
from worker.training.samples import MISSING, GradeSet, PointSet, SampleOptions

log = structlog.get_logger()

RECIPE_FILE: Final = "recipe.json"
SAMPLES_FILE: Final = "samples.txt"
"""Files beside a run: its recipe, and the digest of the options that its samples are cut with."""

PHANTOM: Final = "phantom"
"""What the ids of phantoms begin with."""


@dataclass(frozen=True)
class RunConfig:
    """Where and on what networks are trained: runs go to `runs`/NETWORK/foldN."""

    runs: Path
    device: str = "auto"
    devices: int = 1
    progress: bool = True

    def weights(self, network: str, fold: int) -> Path:
        """The file of a finished member."""
        return self.runs / network / f"fold{fold}" / f"{network}-{fold}.safetensors"


def train(
    recipe: Recipe,
    networks: Mapping[str, NetworkSpec],
    data: TrainingData,
    config: RunConfig,
    folds: Sequence[int] | None = None,
) -> tuple[list[Path], frozenset[str]]:
    """Train the members of a recipe (those of `folds`, else all) and keep their weights.

    A finished member is not trained again, an unfinished one is resumed from its last epoch.
    Returns the weight files and the ids of the real studies. Raises `BadSettings` before
    anything is trained when the recipe cannot run, or a fold cannot be trained or validated on.
    """
    spec = check_recipe(recipe, networks)
    check_samples(recipe, spec)
    chosen = recipe.held_out if folds is None else tuple(folds)
    if unknown := set(chosen) - set(range(recipe.folds)):
        raise BadSettings(f"{recipe.network} has folds 0 to {recipe.folds - 1}, not {unknown}")
    for fold in chosen:
        _check_start_is_trained(recipe, spec, fold, config)
    samples = data.samples(recipe, spec)
    for fold in chosen:
        _check_fold(recipe, samples, fold)
    files = []
    for fold in chosen:
        path = config.weights(recipe.network, fold)
        _same_recipe(recipe, data.options, path.parent)
        if path.exists():
            log.info("already trained", network=recipe.network, fold=fold)
        else:
            save_network(_fit(recipe, spec, samples, fold, config), path)
        files.append(path)
    return files, frozenset(s for s in samples.studies if not s.startswith(PHANTOM))


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


def split(
    samples: PointSet | GradeSet, folds: int, fold: int
) -> tuple[PointSet, PointSet] | tuple[GradeSet, GradeSet]:
    """Training and validation samples; phantoms validate only where there is nothing else."""
    training = samples.where(lambda study: fold_of(study, folds) != fold)
    kept_out = samples.where(lambda study: fold_of(study, folds) == fold)
    real = kept_out.where(lambda study: not study.startswith(PHANTOM))
    validation = real if len(real) else kept_out
    return training, validation  # type: ignore[return-value]


def start_from_member(encoder: nn.Module, weights: Path) -> None:
    """Fill an encoder with that of a finished member."""
    prefix = f"{ENCODER}."
    state = {
        name.removeprefix(prefix): value.float() if value.is_floating_point() else value
        for name, value in load_file(weights).items()
        if name.startswith(prefix)
    }
    fill(encoder, state)


def _fit(
    recipe: Recipe,
    spec: NetworkSpec,
    samples: PointSet | GradeSet,
    fold: int,
    config: RunConfig,
) -> nn.Module:
    training, validation = split(samples, recipe.folds, fold)
    torch.manual_seed(recipe.seed)
    module = module_of(recipe, spec, samples.heads)
    start = recipe.start_of(spec)
    if start == IMAGENET:
        start_from_imagenet(module.network.get_submodule(ENCODER), recipe.backbone)
    elif start != SCRATCH:
        start_from_member(module.network.get_submodule(ENCODER), config.weights(start, fold))
    run = Run(
        config.runs / recipe.network / f"fold{fold}",
        recipe.epochs,
        recipe.samples or round(float(training.shares.sum())),
        recipe.batch,
        seed=recipe.seed,
        device=config.device,
        devices=config.devices,
        patience=recipe.patience,
        progress=config.progress,
    )
    log.info(
        "training",
        network=recipe.network,
        held_out=f"fold {fold} of {recipe.folds}",
        samples=len(training),
        validation=len(validation),
    )
    return fit(module, training, validation, run)


def _same_recipe(recipe: Recipe, options: SampleOptions, folder: Path) -> None:
    """Keep the recipe beside a run; raise `BadSettings` for a run of another one.

    Samples that are cut with other options count as another recipe.
    """
    kept, samples = folder / RECIPE_FILE, folder / SAMPLES_FILE
    if kept.is_file():
        same_samples = samples.is_file() and samples.read_text("utf-8") == options.digest
        if _kept_recipe(kept) != recipe or not same_samples:
            raise BadSettings(
                f"{folder} was trained by another recipe or with other options ({kept.name}): "
                "remove it, or name other --runs"
            )
    folder.mkdir(parents=True, exist_ok=True)
    kept.write_text(recipe.model_dump_json(indent=2), encoding="utf-8")
    samples.write_text(options.digest, encoding="utf-8")


def _kept_recipe(path: Path) -> Recipe:
    """The recipe beside a run; raises `BadSettings` for one of an earlier version."""
    try:
        return Recipe.model_validate_json(path.read_text("utf-8"))
    except ValidationError as error:
        raise BadSettings(
            f"{path} is of an earlier version: remove {path.parent}, or name other --runs"
        ) from error


def _check_start_is_trained(
    recipe: Recipe, spec: NetworkSpec, fold: int, config: RunConfig
) -> None:
    """Raise `BadSettings` where the member to start from is missing, or was trained otherwise.

    With other folds it would have seen studies that are to validate.
    """
    start = recipe.start_of(spec)
    if start in (IMAGENET, SCRATCH):
        return
    weights = config.weights(start, fold)
    if not weights.is_file():
        raise BadSettings(f"{weights} is missing: train {start} first, with the same --runs")
    kept = weights.with_name(RECIPE_FILE)
    if not kept.is_file():
        return
    other = _kept_recipe(kept)
    if other.folds != recipe.folds:
        raise BadSettings(f"{weights} keeps a fold of {other.folds} out, not of {recipe.folds}")
    if other.backbone != recipe.backbone:
        raise BadSettings(
            f"{weights} has the backbone {other.backbone}, {recipe.network} has {recipe.backbone}"
        )


def _check_fold(recipe: Recipe, samples: PointSet | GradeSet, fold: int) -> None:
    grades = None
    if isinstance(samples, GradeSet):
        ranks = list(Severity)
        grades = {
            head.replace("_", " "): [None if rank == MISSING else ranks[rank] for rank in column]
            for head, column in zip(samples.heads, samples.labels.T, strict=True)
        }
    real = np.array([not s.startswith(PHANTOM) for s in samples.studies])
    if real.any():
        chosen = np.flatnonzero(real)
        studies = [samples.studies[n] for n in chosen]
        grades = grades and {t: [g[n] for n in chosen] for t, g in grades.items()}
    else:
        studies = list(samples.studies)
    check_fold(recipe.network, fold, recipe.folds, studies, grades)
