"""One training run: batches, Lightning's trainer, and checkpoints to resume from."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

from worker.training.curves import draw_curves, join_metrics, put_aside
from worker.training.modules import GradeModule, PointModule
from worker.training.samples import GradeSet, PointSet


@dataclass(frozen=True)
class Run:
    """The length, batches and device of a run.

    `device` is auto, cpu, cuda or cuda:N, `devices` how many of them share the work (DDP).
    On a GPU the precision is mixed (bfloat16). With `patience` a run ends after that many
    epochs without a better validation loss.
    """

    folder: Path
    epochs: int
    samples_per_epoch: int
    batch: int
    seed: int = 0
    device: str = "auto"
    devices: int = 1
    patience: int = 0
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
    """Train a module and return its averaged network.

    Resumes from `run.folder/last.ckpt` when it is there. Writes metrics.csv, TensorBoard
    events and curves.png beside it. Raises ValueError when either set is empty.
    """
    if not len(training) or not len(validation):
        raise ValueError("a fold without samples cannot be trained or validated")
    seed_everything(run.seed, workers=True, verbose=False)
    sampler = WeightedRandomSampler(training.shares.tolist(), run.samples_per_epoch)
    train, validate = (
        DataLoader(
            _Batches(training),
            run.batch,
            sampler=sampler,
            collate_fn=_as_is,
            # An epoch of less than one batch must still have one.
            drop_last=run.samples_per_epoch >= run.batch * run.devices,
        ),
        DataLoader(_Batches(validation), run.batch, collate_fn=_as_is),
    )
    resume, metrics = run.folder / "last.ckpt", run.folder / "metrics.csv"
    if resume.exists():
        put_aside(metrics)
    with warnings.catch_warnings():
        # Batches are sliced from memory: loader processes would only copy them.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        _trainer(run).fit(
            module, train, validate, ckpt_path=str(resume) if resume.exists() else None
        )
    join_metrics(metrics)
    draw_curves(metrics, run.folder / "curves.png")
    return module.average.module


def _trainer(run: Run) -> Trainer:
    accelerator, _, index = run.device.partition(":")
    callbacks: list[Callback] = [
        # The same file always: a second one in a moved folder would never be resumed from.
        ModelCheckpoint(run.folder, filename="last", save_top_k=1, enable_version_counter=False)
    ]
    if run.patience:
        callbacks.append(EarlyStopping("val_loss", patience=run.patience))
    on_gpu = torch.cuda.is_available() and accelerator != "cpu"
    loggers: list[Logger] = [CSVLogger(run.folder, name="", version="")]
    loggers.append(TensorBoardLogger(run.folder, name="", version=""))
    return Trainer(
        accelerator="gpu" if accelerator == "cuda" else accelerator,
        devices=[int(index)] if index else run.devices,
        # A spawned process gets the data by value; a script's own needs no re-reading.
        strategy="ddp_spawn" if run.devices > 1 else "auto",
        precision="bf16-mixed" if on_gpu else "32-true",
        max_epochs=run.epochs,
        default_root_dir=run.folder,
        logger=loggers,
        callbacks=callbacks,
        enable_progress_bar=run.progress,
        enable_model_summary=False,
        log_every_n_steps=1 if run.samples_per_epoch < 10 * run.batch else 10,
        gradient_clip_val=1.0,
    )


def _as_is(batch: Any) -> Any:  # noqa: ANN401 - a batch comes out as it was sliced
    return batch
