"""One run: batches, Lightning's trainer, checkpoints to resume from, and what comes out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

from worker.training.modules import GradeModule, PointModule
from worker.training.samples import GradeSet, PointSet


@dataclass(frozen=True)
class Run:
    """How long and how to fit."""

    folder: Path
    epochs: int
    samples_per_epoch: int
    batch: int
    seed: int = 0
    device: str = "auto"
    progress: bool = True


class _Batches(Dataset[tuple[Tensor, ...]]):
    """Samples fetched a whole batch at a time."""

    def __init__(self, samples: PointSet | GradeSet) -> None:
        arrays = (
            (samples.images, samples.points, samples.states)
            if isinstance(samples, PointSet)
            else (samples.images, samples.labels)
        )
        self.tensors = tuple(torch.from_numpy(array) for array in arrays)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        return tuple(tensor[list(indices)] for tensor in self.tensors)


def fit(
    module: PointModule | GradeModule,
    training: PointSet | GradeSet,
    validation: PointSet | GradeSet,
    run: Run,
) -> nn.Module:
    """Fit a module and return its averaged network, ready to ship.

    Resumes from `run.folder/last.ckpt` when it is there. Raises ValueError when either
    set is empty.
    """
    if not len(training) or not len(validation):
        raise ValueError("a fold without samples cannot be trained or validated")
    seed_everything(run.seed, workers=True, verbose=False)
    sampler = WeightedRandomSampler(training.shares.tolist(), run.samples_per_epoch)
    train, validate = (
        DataLoader(_Batches(training), run.batch, sampler=sampler, collate_fn=_as_is),
        DataLoader(_Batches(validation), run.batch, collate_fn=_as_is),
    )
    checkpoint = ModelCheckpoint(run.folder, filename="last", save_last=False, save_top_k=1)
    trainer = Trainer(
        accelerator=run.device,
        devices=1 if run.device == "cpu" else "auto",
        max_epochs=run.epochs,
        default_root_dir=run.folder,
        logger=CSVLogger(run.folder, name="", version=""),
        callbacks=[checkpoint],
        enable_progress_bar=run.progress,
        enable_model_summary=False,
        log_every_n_steps=1 if run.samples_per_epoch < 10 * run.batch else 10,
        gradient_clip_val=1.0,
    )
    resume = run.folder / "last.ckpt"
    with warnings.catch_warnings():
        # Batches are sliced from memory: loader processes would only copy them.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        trainer.fit(module, train, validate, ckpt_path=str(resume) if resume.exists() else None)
    return module.average.module


def _as_is(batch: Any) -> Any:  # noqa: ANN401 - a batch comes out as it was sliced
    return batch
