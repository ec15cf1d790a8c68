"""The challenge's score: weighted probabilities, its losses, and any_severe_spinal."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from worker.evaluation.scores import (
    any_severe_log_loss,
    any_severe_spinal,
    constant_log_loss,
    log_losses,
    weighted,
)
from worker.grade.crops import posteriors


def weighted_log_loss(probabilities, labels):
    """The challenge's loss of all rows."""
    loss, weight = log_losses(probabilities, labels).sum(axis=0)
    return loss / weight


shares = arrays(float, (7, 3), elements=st.floats(0.01, 1)).map(
    lambda rows: rows / rows.sum(axis=1, keepdims=True)
)


@given(shares)
def test_weighted_is_the_inverse_of_what_graders_divide_out(posterior):
    """Logits of the weighted probabilities give back the posteriors, at temperature one."""
    logits = torch.from_numpy(np.log(weighted(posterior)))
    back = [[p.normal_mild, p.moderate, p.severe] for p in posteriors(logits)]
    assert np.allclose(back, posterior, atol=2e-6)


def test_weighted_by_hand():
    """A posterior of thirds becomes 1/7, 2/7, 4/7."""
    assert np.allclose(weighted(np.full((1, 3), 1 / 3)), [[1 / 7, 2 / 7, 4 / 7]])


def test_the_loss_by_hand():
    """Each row counts with the weight of its true class."""
    rows = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    expected = -(1 * np.log(0.5) + 4 * np.log(0.8)) / 5
    assert weighted_log_loss(rows, np.array([0, 2])) == pytest.approx(expected)


def test_no_constant_beats_the_best_constant():
    """The class shares, weighted, are the constant with the least loss."""
    labels = np.array([0] * 7 + [1] * 2 + [2])
    best = constant_log_loss(labels)
    for row in np.random.default_rng(0).dirichlet(np.ones(3), 200):
        assert weighted_log_loss(np.tile(row, (10, 1)), labels) >= best - 1e-12


def test_any_severe_spinal_by_hand():
    """A study is as severe as its worst level, in truth, in prediction and in weight."""
    studies = ["a", "b", "a", "b"]
    # Rows need not sum to one: the challenge normalises them before the maximum.
    rows = np.array([[2, 0, 2], [0.9, 0.05, 0.05], [0.3, 0.1, 0.6], [0.6, 0.2, 0.2]])
    names, table = any_severe_spinal(studies, rows, np.array([2, 0, 1, 1]))
    assert names == ["a", "b"]
    assert np.allclose(table, [[0.6, 1, 4], [0.2, 0, 2]])
    assert any_severe_log_loss(table, np.ones((1, 2)))[0] == pytest.approx(
        -(4 * np.log(0.6) + 2 * np.log(0.8)) / 6
    )
