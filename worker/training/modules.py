"""What each kind of network is trained by: its loss, its augmentation, its validation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from worker.domain.predictions import SEVERITY_WEIGHTS
from worker.localise.heatmaps.peaks import STRIDE, peaks
from worker.models.networks import build_network, standardise
from worker.models.seam import NetworkKind, NetworkSpec
from worker.training.augment import Move, augmentation, batch_of
from worker.training.recipe import Recipe
from worker.training.samples import ABSENT, MISSING, PRESENT

HEATMAP_SIGMA: Final = 1.5


class _Fitted(LightningModule):
    """A network with an exponential moving average that validates and ships."""

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.average = AveragedModel(
            self.network,
            multi_avg_fn=partial(move_average, decay=recipe.decay),
            use_buffers=True,
        )
        # What several devices share is what has a gradient: the average never has one.
        self.average.requires_grad_(False)
        self.rate = recipe.rate

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with a one-cycle schedule: enough for short runs of small networks."""
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=self.rate, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=self.rate,
            total_steps=int(self.trainer.estimated_stepping_batches),
            pct_start=0.15,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _log_validation(self, name: str, value: Tensor, count: int) -> None:
        self.log(name, value, prog_bar=True, batch_size=count, sync_dist=True)

    def on_train_batch_end(self, *_: Any) -> None:  # noqa: ANN401 - Lightning's own signature
        """Move the average towards the network."""
        self.average.update_parameters(self.network)


def move_average(
    averages: Sequence[Tensor], currents: Sequence[Tensor], count: Tensor | int, *, decay: float
) -> None:
    """Move each average towards its current value, in place.

    A function of its own because torch's closure cannot be sent to the processes of
    several devices.
    """
    get_ema_multi_avg_fn(decay)(averages, currents, count)  # type: ignore[no-untyped-call]


class PointModule(_Fitted):
    """Trains heatmaps: one Gaussian for each present point, unknown points not scored."""

    def __init__(self, spec: NetworkSpec, recipe: Recipe, sample_heads: Sequence[str]) -> None:
        super().__init__(build_network(recipe.architecture, len(spec.heads), recipe.kwargs), recipe)
        shape = spec.input_shape[1:]
        self.augment = augmentation(shape, recipe.geometry, recipe.intensity)
        self.plain, self.width = Move(shape), shape[1]
        self.columns, self.mirrored_columns = head_columns(spec, sample_heads)

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """The loss of an augmented batch."""
        images, points, states = batch
        crops, where, flip = _tensors(self.augment(batch_of(images, points)))
        # A mirrored patient's left recess is what was the right one.
        mirrored = flip.view(-1, 1)
        where = torch.where(
            mirrored[..., None], where[:, self.mirrored_columns], where[:, self.columns]
        )
        states = torch.where(mirrored, states[:, self.mirrored_columns], states[:, self.columns])
        loss = heatmap_loss(self.network(crops), where, states)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> None:
        """Loss, median error in pixels and share within 4 % of the width, by the average."""
        images, points, states = batch
        crops, where, _ = _tensors(self.plain(batch_of(images, points)))
        where, states = where[:, self.columns], states[:, self.columns]
        logits = self.average(crops)
        self._log_validation("val_loss", heatmap_loss(logits, where, states), len(images))
        found = peaks(torch.sigmoid(logits).flatten(0, 1), 1)[0].view_as(where)
        error = (found - where).norm(dim=-1)[states == PRESENT]
        if len(error):
            self._log_validation("val_error_px", error.median(), len(images))
            near = (error < 0.04 * self.width).float().mean()
            self._log_validation("val_within_4_percent", near, len(images))


class GradeModule(_Fitted):
    """Trains grades with cross-entropy weighted 1/2/4 by the true severity.

    A mirrored crop trains each head with the label of the mirrored patient: the head of the left
    recess with the right side's.
    """

    def __init__(self, spec: NetworkSpec, recipe: Recipe, sample_heads: Sequence[str]) -> None:
        super().__init__(build_network(recipe.architecture, len(spec.heads), recipe.kwargs), recipe)
        shape = spec.input_shape[1:]
        self.augment = augmentation(shape, recipe.geometry, recipe.intensity)
        self.plain = Move(shape)
        self.mixup = recipe.mixup
        self.columns, self.mirrored_columns = head_columns(spec, sample_heads)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The loss of an augmented batch, its samples mixed in pairs where `mixup` says so."""
        images, labels = batch
        crops, _, mirrored = _tensors(self.augment(batch_of(images)))
        labels = self._labels(labels, mirrored)
        standard = standardise(crops)
        share, partner = 1.0, torch.arange(len(images), device=images.device)
        if self.mixup:
            # Zhang et al., arXiv 1710.09412: one share a batch, drawn towards 0 and 1.
            share = float(torch.distributions.Beta(self.mixup, self.mixup).sample())
            partner = torch.randperm(len(images), device=images.device)
            standard = share * standard + (1 - share) * standard[partner]
        logits = self.network.classify(standard)  # type: ignore[operator]
        loss = mixed_loss(logits, labels, labels[partner], share)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        """Loss of the plain crops, and of their mirror images, by the average."""
        images, labels = batch
        crops, _, flipped = _tensors(self.plain(batch_of(images)))
        loss = grade_loss(self.average(crops), self._labels(labels, flipped))
        if self.columns != self.mirrored_columns:
            mirrored = grade_loss(self.average(crops.flip(-1)), self._labels(labels, ~flipped))
            loss = (loss + mirrored) / 2
        self._log_validation("val_loss", loss, len(images))

    def _labels(self, labels: Tensor, mirrored: Tensor) -> Tensor:
        """The label of each head, shape (batch, heads), of crops that are mirrored or not."""
        return torch.where(
            mirrored.view(-1, 1), labels[:, self.mirrored_columns], labels[:, self.columns]
        )


MODULES: Final[dict[NetworkKind, type[PointModule] | type[GradeModule]]] = {
    NetworkKind.POINTS: PointModule,
    NetworkKind.GRADES: GradeModule,
}
"""What trains a kind of network."""


def module_of(
    recipe: Recipe, spec: NetworkSpec, sample_heads: Sequence[str]
) -> PointModule | GradeModule:
    """What trains a recipe's network; `sample_heads` names the labels of its samples."""
    return MODULES[spec.kind](spec, recipe, sample_heads)


def head_columns(spec: NetworkSpec, sample_heads: Sequence[str]) -> tuple[list[int], list[int]]:
    """For each head its column among the labels of a sample, and that in the mirrored patient."""
    columns = [sample_heads.index(head) for head in spec.heads]
    mirrored = [sample_heads.index(spec.mirror.get(head, head)) for head in spec.heads]
    return columns, mirrored


def grade_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of (batch, heads, 3) against (batch, heads), weighted 1/2/4.

    Normalised by the weights' sum; missing labels are not scored.
    """
    return mixed_loss(logits, labels, labels, 1.0)


def mixed_loss(logits: Tensor, labels: Tensor, others: Tensor, share: float) -> Tensor:
    """`grade_loss` of samples that are `share` one and the rest another."""
    weight = torch.tensor(SEVERITY_WEIGHTS, device=logits.device)
    total = scored = torch.zeros((), device=logits.device)
    for truth, part in ((labels, share), (others, 1.0 - share)):
        flat = truth.flatten().long()
        total = total + part * functional.cross_entropy(
            logits.flatten(0, 1), flat, weight=weight, ignore_index=MISSING, reduction="sum"
        )
        scored = scored + part * weight[flat[flat != MISSING]].sum()
    return total / scored.clamp_min(1e-6)


def _tensors(batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """A transformed batch as plain tensors."""
    images, points, mirrored = (part.as_subclass(Tensor) for part in batch)
    return images, points, mirrored


def heatmap_loss(logits: Tensor, points: Tensor, states: Tensor) -> Tensor:
    """Penalty-reduced focal loss (CenterNet, arXiv 1904.07850, equation 1) of heatmaps.

    `logits` (batch, points, height, width) at a quarter of the crop, `points` (batch,
    points, 2) in crop pixels, `states` (batch, points). Unknown points are left out; so
    is a point that was moved off the crop.
    """
    _, _, height, width = logits.shape
    centre = (points + 0.5) / STRIDE - 0.5
    xs = torch.arange(width, device=logits.device).view(1, 1, 1, -1)
    ys = torch.arange(height, device=logits.device).view(1, 1, -1, 1)
    squared = (xs - centre[..., 0, None, None]) ** 2 + (ys - centre[..., 1, None, None]) ** 2
    inside = (
        (centre[..., 0] >= 0)
        & (centre[..., 0] <= width - 1)
        & (centre[..., 1] >= 0)
        & (centre[..., 1] <= height - 1)
    )
    present = (states == PRESENT) & inside
    scored = ((states == ABSENT) | present)[..., None, None]
    truth = torch.exp(-squared / (2 * HEATMAP_SIGMA**2)) * present[..., None, None]
    nearest = (squared == squared.amin((2, 3), keepdim=True)) & present[..., None, None]
    # In bfloat16 the upper bound would round to 1, and log(1 - p) would be infinite.
    probability = torch.sigmoid(logits.float()).clamp(1e-5, 1 - 1e-5)
    hit = torch.log(probability) * (1 - probability) ** 2 * nearest
    miss = torch.log(1 - probability) * probability**2 * (1 - truth) ** 4 * ~nearest
    total = ((hit + miss) * scored).sum()
    return -total / present.sum().clamp_min(1)
