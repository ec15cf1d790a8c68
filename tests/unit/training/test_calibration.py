"""Calibration recovers what is known, and says nothing where nothing can be known."""

import numpy as np
import pytest

from dicom_sr.findings import Condition, Level, Probabilities, Severity, Side, Target
from worker.evaluation.predictions import GradePrediction
from worker.models.card import PlattScaling
from worker.training.calibration import (
    ABSTAINED,
    abstention,
    calibrated,
    fit_platt_scaling,
    fit_temperature,
)

TARGET = Target(Condition.NEURAL_FORAMINAL_NARROWING, Level.L4_L5, Side.LEFT)


def graded(posteriors, ranks=None) -> tuple[GradePrediction, ...]:
    """Rows of these posteriors, shape (n, 3), and these true ranks."""
    truths = [None] * len(posteriors) if ranks is None else [list(Severity)[r] for r in ranks]
    return tuple(
        GradePrediction("77", f"{n}.png", TARGET, Probabilities(*row), truth)
        for n, (row, truth) in enumerate(zip(posteriors.tolist(), truths, strict=True))
    )


def softmax(logits):
    """Shares of logits, shape (n, 3)."""
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def overconfident(temperature: float, count: int = 6000) -> tuple[GradePrediction, ...]:
    """Labels drawn from what the logits say at a temperature; rows are as said at 1."""
    rng = np.random.default_rng(0)
    logits = rng.normal((1.0, 0.0, -1.0), 2, (count, 3))
    draws = rng.random(count)[:, None]
    ranks = (draws > softmax(logits / temperature).cumsum(axis=1)).sum(axis=1)
    return graded(softmax(logits), ranks.clip(max=2))


def shares_of(rows) -> np.ndarray:
    """Their posteriors, shape (n, 3)."""
    return np.array([[row.posterior.of(s) for s in Severity] for row in rows])


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7, 3.0])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    """Labels that follow the logits at T give T, and at T they want no other."""
    rows = overconfident(temperature)
    found = fit_temperature(rows)
    assert found == pytest.approx(temperature, rel=0.08)
    assert fit_temperature(calibrated(rows, found)) == pytest.approx(1, rel=0.01)


def test_temperature_one_changes_nothing() -> None:
    """Neither posteriors nor anything else of a row."""
    rows = overconfident(1.0, 50)
    same = calibrated(rows, 1.0)
    np.testing.assert_allclose(shares_of(same), shares_of(rows), atol=1e-9)
    assert [(r.file, r.target, r.truth) for r in same] == [
        (r.file, r.target, r.truth) for r in rows
    ]


def test_a_temperature_changes_how_sure_and_not_what() -> None:
    """Warmer is less sure, colder surer; the severity stays."""
    rows = overconfident(1.0, 200)
    plain = shares_of(rows)
    warm, cold = (shares_of(calibrated(rows, t)) for t in (2.0, 0.5))
    np.testing.assert_array_equal(warm.argmax(axis=1), plain.argmax(axis=1))
    np.testing.assert_array_equal(cold.argmax(axis=1), plain.argmax(axis=1))
    assert (warm.max(axis=1) < plain.max(axis=1)).all()
    assert (cold.max(axis=1) > plain.max(axis=1)).all()


def test_a_posterior_of_zero_bears_any_temperature() -> None:
    """What is impossible at 1 stays unlikely, and no NaN comes of it."""
    rows = graded(np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]), [0, 1])
    for temperature in (0.3, 1.0, 4.0):
        shares = shares_of(calibrated(rows, temperature))
        assert np.isfinite(shares).all()
        assert shares[0, 0] > 0.99
    assert np.isfinite(fit_temperature(rows))


def test_abstention_gives_up_the_least_sure() -> None:
    """One in a hundred rows lies below the rule, and those are the least sure ones."""
    rows = overconfident(1.0, 2000)
    below = abstention(rows)
    sure = shares_of(rows).max(axis=1)
    assert (sure < below).mean() == pytest.approx(ABSTAINED, abs=0.003)
    assert 1 / 3 < below < np.median(sure)
    assert abstention(calibrated(rows, 3.0)) < below


def test_a_higher_score_is_a_higher_probability() -> None:
    """Where hot points are right more often, the curve rises, and it tells the true chance."""
    rng = np.random.default_rng(1)
    scores = rng.uniform(0.02, 0.98, 8000)
    logit = np.log(scores / (1 - scores))
    chance = 1 / (1 + np.exp(-(0.8 * logit + 1.0)))
    errors = np.where(rng.random(8000) < chance, 0.01, 0.2)
    scaling = fit_platt_scaling(scores, errors)
    assert scaling.slope == pytest.approx(0.8, abs=0.1)
    assert scaling.offset == pytest.approx(1.0, abs=0.1)


def test_extreme_scores_give_finite_numbers() -> None:
    """Scores of exactly 0 and 1 are finite."""
    scores, errors = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.5, 0.5, 0.01, 0.01])
    scaling = fit_platt_scaling(scores, errors)
    assert np.isfinite([scaling.slope, scaling.offset]).all()
    assert scaling.slope > 0


@pytest.mark.parametrize("errors", [[0.01, 0.02], [0.3, 0.4], []], ids=["all", "none", "nothing"])
def test_the_scaling_is_neutral_where_nothing_can_be_fitted(errors) -> None:
    """All right, all wrong, or no point at all: the score is taken as it is."""
    scores = np.linspace(0.2, 0.8, len(errors))
    assert fit_platt_scaling(scores, np.array(errors, dtype=np.float64)) == PlattScaling()
