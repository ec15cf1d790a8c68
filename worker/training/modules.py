"""What is learnt and from what loss: heatmaps of points, and grades of crops."""

from __future__ import annotations

from typing import Any, Final

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from worker.bundles.networks import ARCHITECTURES
from worker.grade.graders import TRAINING_WEIGHTS
from worker.localise.heat import STRIDE, peaks
from worker.training.augment import Geometry, Intensity, move, shake
from worker.training.samples import ABSENT, MISSING, PRESENT

HEATMAP_SIGMA: Final = 1.5


class _Fitted(LightningModule):
    """A network with an exponential moving average that validates and ships."""

    def __init__(self, architecture: str, outputs: int, rate: float, decay: float) -> None:
        super().__init__()
        self.network = ARCHITECTURES[architecture](outputs).to(memory_format=torch.channels_last)
        self.average = AveragedModel(
            self.network,
            multi_avg_fn=get_ema_multi_avg_fn(decay),  # type: ignore[no-untyped-call]
            use_buffers=True,
        )
        self.rate = rate

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW on one cycle: short runs on small networks want no more."""
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

    def on_train_batch_end(self, *_: Any) -> None:  # noqa: ANN401 - Lightning's own signature
        """Move the average towards the network."""
        self.average.update_parameters(self.network)


class PointModule(_Fitted):
    """Learns heatmaps: one Gaussian for each present point, unknown points not scored."""

    def __init__(
        self,
        points: int,
        shape: tuple[int, int],
        geometry: Geometry,
        intensity: Intensity,
        *,
        mirrored_points: tuple[int, ...] | None = None,
        architecture: str = "heatmaps_lite0",
        rate: float = 1e-3,
        decay: float = 0.998,
    ) -> None:
        super().__init__(architecture, points, rate, decay)
        self.shape, self.geometry, self.intensity = shape, geometry, intensity
        self.mirrored_points = mirrored_points

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """The loss of a moved and shaken batch."""
        images, points, states = batch
        moved = move(images, points, self.shape, self.geometry)
        where = moved.points
        if self.mirrored_points is not None:
            # A mirrored patient's left recess is what was the right one.
            order = torch.tensor(self.mirrored_points, device=where.device)
            flip = moved.mirrored
            where = torch.where(flip.view(-1, 1, 1), where[:, order], where)
            states = torch.where(flip.view(-1, 1), states[:, order], states)
        logits = self.network(shake(moved.crops, self.intensity))
        loss = heatmap_loss(logits, where, states)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor]) -> None:
        """Loss, median error in pixels and share within 4 % of the width, by the average."""
        images, points, states = batch
        moved = move(images, points, self.shape, None)
        logits = self.average(moved.crops)
        self.log("val_loss", heatmap_loss(logits, moved.points, states), prog_bar=True)
        found = peaks(torch.sigmoid(logits).flatten(0, 1), 1)[0].view_as(moved.points)
        error = (found - moved.points).norm(dim=-1)[states == PRESENT]
        if len(error):
            self.log("val_error_px", error.median(), prog_bar=True)
            near = (error < 0.04 * self.shape[1]).float().mean()
            self.log("val_within_4_percent", near, prog_bar=True)


class GradeModule(_Fitted):
    """Learns grades with cross-entropy weighted 1/2/4 by the true severity.

    With `sided`, labels are (canal, left, right) and the network has two heads, canal and
    left: a mirrored crop trains the left head with the right side's label.
    """

    def __init__(
        self,
        targets: int,
        shape: tuple[int, int],
        geometry: Geometry,
        intensity: Intensity,
        *,
        sided: bool,
        architecture: str = "grades_lite0",
        rate: float = 1e-3,
        decay: float = 0.998,
    ) -> None:
        super().__init__(architecture, targets, rate, decay)
        self.shape, self.geometry, self.intensity, self.sided = shape, geometry, intensity, sided

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The loss of a moved and shaken batch."""
        images, labels = batch
        nowhere = torch.zeros(len(images), 1, 2, device=images.device)
        moved = move(images, nowhere, self.shape, self.geometry)
        logits = self.network(shake(moved.crops, self.intensity))
        loss = grade_loss(logits, self._labels(labels, moved.mirrored))
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        """Loss of the plain crops, and of their mirror images, by the average."""
        images, labels = batch
        nowhere = torch.zeros(len(images), 1, 2, device=images.device)
        crops = move(images, nowhere, self.shape, None).crops
        flipped = torch.zeros(len(images), dtype=torch.bool, device=images.device)
        loss = grade_loss(self.average(crops), self._labels(labels, flipped))
        if self.sided:
            mirrored = grade_loss(self.average(crops.flip(-1)), self._labels(labels, ~flipped))
            loss = (loss + mirrored) / 2
        self.log("val_loss", loss, prog_bar=True)

    def _labels(self, labels: Tensor, mirrored: Tensor) -> Tensor:
        if not self.sided:
            return labels
        side = torch.where(mirrored, labels[:, 2], labels[:, 1])
        return torch.stack([labels[:, 0], side], dim=1)


def grade_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of (batch, targets, 3) against (batch, targets), weighted 1/2/4.

    Normalised by the weights' sum; missing labels are not scored.
    """
    weight = torch.tensor(TRAINING_WEIGHTS, device=logits.device)
    return functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten().long(), weight=weight, ignore_index=MISSING
    )


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
    probability = torch.sigmoid(logits).clamp(1e-5, 1 - 1e-5)
    hit = torch.log(probability) * (1 - probability) ** 2 * nearest
    miss = torch.log(1 - probability) * probability**2 * (1 - truth) ** 4 * ~nearest
    total = ((hit + miss) * scored).sum()
    return -total / present.sum().clamp_min(1)
