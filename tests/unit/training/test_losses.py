"""What is learnt, and what is left alone."""

import math

import pytest
import torch

from worker.localise.heatmaps.peaks import STRIDE
from worker.training.modules import grade_loss, heatmap_loss, mixed_loss
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


def test_a_mixed_sample_is_judged_by_both_its_parts() -> None:
    """All of one is its own loss; in between each label counts by share and weight."""
    logits = torch.log(torch.tensor([[[0.7, 0.2, 0.1]]]))
    normal, severe = torch.tensor([[0]]), torch.tensor([[2]])
    whole, none = (mixed_loss(logits, normal, severe, share) for share in (1.0, 0.0))
    assert whole.item() == pytest.approx(grade_loss(logits, normal).item())
    assert none.item() == pytest.approx(grade_loss(logits, severe).item())
    mixed = mixed_loss(logits, normal, severe, 0.75).item()
    expected = (-0.75 * math.log(0.7) - 0.25 * 4 * math.log(0.1)) / (0.75 + 0.25 * 4)
    assert mixed == pytest.approx(expected)


def test_a_partner_without_a_label_is_not_scored() -> None:
    """Mixed with an unlabelled sample, only the labelled part counts; two such cost nothing."""
    logits = torch.randn(3, 1, 3)
    labels, nobody = torch.tensor([[0], [1], [2]]), torch.full((3, 1), MISSING)
    assert mixed_loss(logits, labels, nobody, 0.6).item() == pytest.approx(
        grade_loss(logits, labels).item()
    )
    assert mixed_loss(logits, nobody, nobody, 0.6).item() == 0


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
