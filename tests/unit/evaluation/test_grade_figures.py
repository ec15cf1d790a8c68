"""Figures of grades: by hand, by law, and the same for one resample as for many."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.evaluation.bootstrap import draw
from worker.evaluation.calibration import (
    coverage_curve,
    expected_calibration_error,
    reliability,
)
from worker.evaluation.grade_figures import (
    class_figures,
    confusion,
    curves,
    decisions,
    scalar_figures,
)
from worker.evaluation.grade_resampling import resampled_figures


def noisy(n, seed, classes=3, decimals=None):
    """Posteriors, labels and studies at random; few decimals make many ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    rows = rng.dirichlet([2, 1, 1], n) + 0.3 * np.eye(3)[labels]
    if decimals is not None:
        rows = np.round(rows, decimals) + 0.01
    return rows / rows.sum(axis=1, keepdims=True), labels, rng.integers(0, max(1, n // 3), n)


def test_a_perfect_prediction_is_perfect():
    """Certain and right everywhere: no loss, no calibration error, everything else is one."""
    labels = np.array([0, 0, 0, 1, 1, 2])
    figures = scalar_figures(np.eye(3)[labels], labels)
    for name in ("weighted_log_loss", "ece_severe", "ece_top"):
        assert figures[name] == pytest.approx(0, abs=1e-9)
    for name in ("accuracy", "balanced_accuracy", "linear_kappa", "sensitivity_severe"):
        assert figures[name] == 1
    assert figures["auc_severe"] == figures["auc_moderate_or_worse"] == 1


def test_a_constant_prediction_has_the_loss_of_the_constant():
    """Class shares as posterior are the best constant, calibrated, and know nothing."""
    labels = np.array([0] * 8 + [1] * 3 + [2] * 1)
    rows = np.tile(np.bincount(labels) / 12, (12, 1))
    figures = scalar_figures(rows, labels)
    assert figures["weighted_log_loss"] == pytest.approx(figures["constant_log_loss"], abs=1e-12)
    assert figures["auc_severe"] == 0.5
    assert figures["linear_kappa"] == 0
    assert figures["ece_severe"] == pytest.approx(0, abs=1e-12)
    assert figures["sensitivity_severe"] == 0


def test_figures_by_hand():
    """Six rows, counted on paper."""
    rows = np.array(
        [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1],
         [0.5, 0.4, 0.1], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7]]
    )  # fmt: skip
    labels = np.array([0, 0, 0, 1, 1, 2])
    assert decisions(rows).tolist() == [0, 0, 1, 0, 1, 2]
    assert confusion(rows, labels) == ((2, 1, 0), (1, 1, 0), (0, 0, 1))
    figures = scalar_figures(rows, labels)
    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    # Two steps of disagreement; by chance, of margins 3, 2, 1 both: (12 + 4 + 2 x 6) / 6.
    assert figures["linear_kappa"] == pytest.approx(1 - 2 / (28 / 6))
    # 0.2, 0.4, 0.8 against 0.5, 0.9, 0.9: one pair of nine is in the wrong order.
    assert figures["auc_moderate_or_worse"] == pytest.approx(8 / 9)
    moderate = class_figures(rows, labels)["moderate"]
    assert moderate == {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert figures["ece_severe"] == pytest.approx((5 * 0.1 + 0.3) / 6)


def test_equal_posteriors_are_decided_for_the_milder_grade():
    """As `Probabilities.severity` decides."""
    assert decisions(np.array([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4]])).tolist() == [0, 1]


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 1], [2, 2, 2], []], ids=str)
def test_what_is_not_defined_is_none(labels):
    """A class without an example costs its figures, nothing else, and never a crash."""
    labels = np.array(labels, dtype=np.int64)
    rows = np.tile([0.5, 0.3, 0.2], (len(labels), 1))
    figures = scalar_figures(rows, labels)
    assert figures["auc_severe"] is None
    assert figures["balanced_accuracy"] is None
    assert figures["sensitivity_severe"] is None
    assert (figures["accuracy"] is None) == (len(labels) == 0)
    absent = class_figures(rows, labels)
    assert absent["severe"]["precision"] is None
    assert all(v is None or math.isfinite(v) for row in absent.values() for v in row.values())
    assert "auc_severe" not in curves(rows, labels).roc


@given(st.integers(1, 60), st.integers(0, 10**6), st.integers(1, 3), st.sampled_from([None, 1]))
def test_resampling_every_study_once_is_the_figure_itself(n, seed, classes, decimals):
    """The vectorised figures agree with those of scikit-learn, ties and lost classes included."""
    rows, labels, study = noisy(n, seed, classes, decimals)
    again = resampled_figures(np.ones((1, study.max() + 1)), study, rows, labels)
    figures = scalar_figures(rows, labels)
    for severity, by_name in class_figures(rows, labels).items():
        figures |= {f"{severity}.{name}": value for name, value in by_name.items()}
    for name, value in figures.items():
        if name == "constant_log_loss":
            continue
        if value is None:
            assert not np.isfinite(again[name][0]), name
        else:
            assert again[name][0] == pytest.approx(value, abs=1e-9), name


@given(st.integers(3, 40), st.integers(0, 10**6))
def test_a_resample_is_the_figure_of_copied_rows(n, seed):
    """Drawing a study twice is the same as having its rows twice."""
    rows, labels, study = noisy(n, seed, decimals=1)
    counts = draw(study.max() + 1, resamples=3, seed=seed)
    again = resampled_figures(counts, study, rows, labels)
    for k, drawn in enumerate(counts.astype(int)):
        copies = np.repeat(np.arange(n), drawn[study])
        if not len(copies):
            continue
        for name, value in scalar_figures(rows[copies], labels[copies]).items():
            if name != "constant_log_loss" and value is not None:
                assert again[name][k] == pytest.approx(value, abs=1e-9), name


def test_calibration_error_by_hand():
    """Two bins: four rows of 0.1 of which one comes true, two of 0.9 of which both do."""
    predicted = np.array([0.1, 0.1, 0.1, 0.1, 0.9, 0.9])
    happened = np.array([True, False, False, False, True, True])
    assert expected_calibration_error(predicted, happened) == pytest.approx(
        4 / 6 * 0.15 + 2 / 6 * 0.1
    )
    low, high = reliability(predicted, happened)
    assert (low.n, low.observed) == (4, 0.25)
    assert (high.n, high.observed) == (2, 1.0)
    assert low.predicted == pytest.approx(0.1)


def test_certainty_belongs_to_the_last_bin():
    """A probability of exactly one is no bin of its own."""
    assert expected_calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0


@given(st.integers(1, 80), st.integers(0, 10**6))
def test_coverage_ends_at_everything(n, seed):
    """At full coverage the accuracy is that of all rows, and coverage only grows."""
    rows, labels, _ = noisy(n, seed, decimals=1)
    right = decisions(rows) == labels
    curve = coverage_curve(rows.max(axis=1), right)
    assert curve[-1].coverage == 1
    assert curve[-1].accuracy == pytest.approx(right.mean())
    assert all(a.coverage < b.coverage for a, b in itertools.pairwise(curve))
    for one in curve:
        taken = rows.max(axis=1) >= one.threshold
        assert one.coverage == pytest.approx(taken.mean())
        assert one.accuracy == pytest.approx(right[taken].mean())
