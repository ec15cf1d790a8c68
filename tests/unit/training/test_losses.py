"""What is learnt, and what is left alone."""

import math

import pytest
import torch

from worker.localise.heat import STRIDE
from worker.training.modules import grade_loss, heatmap_loss
from worker.training.samples import ABSENT, MISSING, PRESENT, UNKNOWN


def test_a_severe_miss_costs_four_times_a_normal_one() -> None:
    """The loss is the weighted mean with weights 1, 2 and 4 by true severity."""
    logits = torch.log(torch.tensor([[[0.7, 0.2, 0.1]], [[0.7, 0.2, 0.1]]]))
    loss = grade_loss(logits, torch.tensor([[0], [2]]))
    assert loss.item() == pytest.approx((-math.log(0.7) - 4 * math.log(0.1)) / 5)


def test_missing_labels_are_not_scored() -> None:
    """A target without a label changes nothing."""
    logits = torch.randn(2, 2, 3)
    one = grade_loss(logits, torch.tensor([[1, MISSING], [0, MISSING]]))
    assert one.item() == pytest.approx(grade_loss(logits[:, :1], torch.tensor([[1], [0]])).item())


def heat_at(column: int, row: int) -> torch.Tensor:
    logits = torch.full((1, 1, 16, 16), -6.0)
    logits[0, 0, row, column] = 6.0
    return logits


def test_heat_in_the_right_place_costs_least() -> None:
    """The same heat elsewhere, or rows and columns swapped, costs more."""
    point = torch.tensor([[[(4 + 0.5) * STRIDE - 0.5, (11 + 0.5) * STRIDE - 0.5]]])
    present = torch.tensor([[PRESENT]])
    right = heatmap_loss(heat_at(4, 11), point, present)
    assert right < heatmap_loss(heat_at(11, 4), point, present)
    assert right < heatmap_loss(heat_at(5, 12), point, present)


def test_unknown_points_are_not_scored_and_absent_ones_are() -> None:
    """Heat where nobody annotated is free; heat where a point is known not to be is not."""
    point = torch.zeros(1, 1, 2)
    assert heatmap_loss(heat_at(4, 11), point, torch.tensor([[UNKNOWN]])).item() == 0
    assert heatmap_loss(heat_at(4, 11), point, torch.tensor([[ABSENT]])).item() > 1


def test_a_point_moved_off_the_crop_is_not_scored() -> None:
    """Augmentation may push a point outside: then it teaches nothing."""
    point = torch.tensor([[[-9.0, 20.0]]])
    assert heatmap_loss(heat_at(4, 11), point, torch.tensor([[PRESENT]])).item() == 0
