"""Metrics of grades: by hand, by law, and against scikit-learn."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
)

from dicom_sr.findings import Severity
from worker.evaluation.bootstrap import draw
from worker.evaluation.grade_metrics import (
    CLASS_METRICS,
    confusion,
    curves,
    decisions,
    grade_metrics,
)
from worker.evaluation.reliability import calibration_gaps, coverage_curve, reliability
from worker.evaluation.scores import WEIGHTS, constant_log_loss, weighted


def noisy(n, seed, classes=3, decimals=None):
    """Posteriors, labels and studies at random; few decimals make many ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    rows = rng.dirichlet([2, 1, 1], n) + 0.3 * np.eye(3)[labels]
    if decimals is not None:
        rows = np.round(rows, decimals) + 0.01
    return rows / rows.sum(axis=1, keepdims=True), labels, rng.integers(0, max(1, n // 3), n)


def observed(rows, labels):
    """The metrics of the observed sample, None where undefined."""
    study = np.zeros(len(labels), dtype=np.int64)
    metrics = grade_metrics(rows, labels, study, np.ones((1, 1)))
    return {n: float(v[0]) if np.isfinite(v[0]) else None for n, v in metrics.items()}


def of_class(metrics, severity):
    """Precision, recall and F1 of one class."""
    return {name: metrics[f"{severity}.{name}"] for name in CLASS_METRICS}


def calibration_error(predicted, happened):
    """The expected calibration error of one event."""
    return np.abs(calibration_gaps(predicted, happened).sum(axis=0)).sum() / len(predicted)


def by_scikit_learn(rows, labels):
    """The same metrics by scikit-learn, those that it defines."""
    chosen, classes = rows.argmax(axis=1), [0, 1, 2]
    table = precision_recall_fscore_support(labels, chosen, labels=classes, zero_division=np.nan)
    metrics = {
        "weighted_log_loss": log_loss(
            labels, weighted(rows), labels=classes, sample_weight=WEIGHTS[labels]
        ),
        "accuracy": accuracy_score(labels, chosen),
        "balanced_accuracy": np.mean(table[1]),
    }
    for severity in Severity:
        for row, name in enumerate(CLASS_METRICS):
            metrics[f"{severity}.{name}"] = table[row][severity.rank]
    if len(np.union1d(chosen, labels)) > 1:
        kappa = cohen_kappa_score(labels, chosen, labels=classes, weights="linear")
        metrics["linear_kappa"] = kappa
    for name, rank in (("auc_severe", 2), ("auc_moderate_or_worse", 1)):
        positive, score = labels >= rank, rows[:, rank:].sum(axis=1)
        if positive.any() and not positive.all():
            metrics[name] = roc_auc_score(positive, score)
            if rank == 2:
                false, true, _ = roc_curve(positive, score, drop_intermediate=False)
                metrics["sensitivity_severe"] = true[false <= 0.05 + 1e-9].max()
    return {name: value for name, value in metrics.items() if np.isfinite(value)}


def test_a_perfect_prediction_is_perfect():
    """Certain and right everywhere: no loss, no calibration error, everything else is one."""
    labels = np.array([0, 0, 0, 1, 1, 2])
    metrics = observed(np.eye(3)[labels], labels)
    for name in ("weighted_log_loss", "ece_severe", "ece_top"):
        assert metrics[name] == pytest.approx(0, abs=1e-9)
    for name in ("accuracy", "balanced_accuracy", "linear_kappa", "sensitivity_severe"):
        assert metrics[name] == 1
    assert metrics["auc_severe"] == metrics["auc_moderate_or_worse"] == 1


def test_a_constant_prediction_has_the_loss_of_the_constant():
    """Class shares as posterior are the best constant, calibrated, and know nothing."""
    labels = np.array([0] * 8 + [1] * 3 + [2] * 1)
    rows = np.tile(np.bincount(labels) / 12, (12, 1))
    metrics = observed(rows, labels)
    assert metrics["weighted_log_loss"] == pytest.approx(constant_log_loss(labels), abs=1e-12)
    assert metrics["auc_severe"] == 0.5
    assert metrics["linear_kappa"] == 0
    assert metrics["ece_severe"] == pytest.approx(0, abs=1e-12)
    assert metrics["sensitivity_severe"] == 0


def test_metrics_by_hand():
    """Six rows, counted on paper."""
    rows = np.array(
        [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1],
         [0.5, 0.4, 0.1], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7]]
    )  # fmt: skip
    labels = np.array([0, 0, 0, 1, 1, 2])
    assert decisions(rows).tolist() == [0, 0, 1, 0, 1, 2]
    assert confusion(rows, labels) == ((2, 1, 0), (1, 1, 0), (0, 0, 1))
    metrics = observed(rows, labels)
    assert metrics["accuracy"] == pytest.approx(4 / 6)
    assert metrics["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    # Two steps of disagreement; by chance, of margins 3, 2, 1 both: (12 + 4 + 2 x 6) / 6.
    assert metrics["linear_kappa"] == pytest.approx(1 - 2 / (28 / 6))
    # 0.2, 0.4, 0.8 against 0.5, 0.9, 0.9: one pair of nine is in the wrong order.
    assert metrics["auc_moderate_or_worse"] == pytest.approx(8 / 9)
    moderate = of_class(metrics, "moderate")
    assert moderate == {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert metrics["ece_severe"] == pytest.approx((5 * 0.1 + 0.3) / 6)


def test_equal_posteriors_are_decided_for_the_milder_grade():
    """As `Probabilities.severity` decides."""
    assert decisions(np.array([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4]])).tolist() == [0, 1]


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 1], [2, 2, 2], []], ids=str)
def test_what_is_not_defined_is_none(labels):
    """A class without an example costs its figures, nothing else, and never a crash."""
    labels = np.array(labels, dtype=np.int64)
    rows = np.tile([0.5, 0.3, 0.2], (len(labels), 1))
    metrics = observed(rows, labels)
    assert metrics["auc_severe"] is None
    assert metrics["balanced_accuracy"] is None
    assert metrics["sensitivity_severe"] is None
    assert (metrics["accuracy"] is None) == (len(labels) == 0)
    assert metrics["severe.precision"] is None
    assert "auc_severe" not in curves(rows, labels).roc


@given(st.integers(1, 60), st.integers(0, 10**6), st.integers(1, 3), st.sampled_from([None, 1]))
def test_metrics_agree_with_scikit_learn(n, seed, classes, decimals):
    """Ties and missing classes included; what scikit-learn does not define is None here."""
    rows, labels, _ = noisy(n, seed, classes, decimals)
    metrics, expected = observed(rows, labels), by_scikit_learn(rows, labels)
    assert set(expected) == {
        name for name, value in metrics.items() if value is not None and "ece" not in name
    }
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, abs=1e-9), name


@given(st.integers(3, 40), st.integers(0, 10**6))
def test_a_resample_equals_copied_rows(n, seed):
    """Drawing a study twice is the same as having its rows twice."""
    rows, labels, study = noisy(n, seed, decimals=1)
    counts = draw(study.max() + 1, resamples=3, seed=seed)
    resampled = grade_metrics(rows, labels, study, counts)
    for k, drawn in enumerate(counts.astype(int)):
        copies = np.repeat(np.arange(n), drawn[study])
        if not len(copies):
            continue
        for name, value in observed(rows[copies], labels[copies]).items():
            if value is None:
                assert not np.isfinite(resampled[name][k]), name
            else:
                assert resampled[name][k] == pytest.approx(value, abs=1e-9), name


def test_calibration_error_by_hand():
    """Two bins: four rows of 0.1 of which one comes true, two of 0.9 of which both do."""
    predicted = np.array([0.1, 0.1, 0.1, 0.1, 0.9, 0.9])
    happened = np.array([True, False, False, False, True, True])
    assert calibration_error(predicted, happened) == pytest.approx(4 / 6 * 0.15 + 2 / 6 * 0.1)
    low, high = reliability(predicted, happened)
    assert (low.n, low.observed) == (4, 0.25)
    assert (high.n, high.observed) == (2, 1.0)
    assert low.predicted == pytest.approx(0.1)


def test_certainty_belongs_to_the_last_bin():
    """A probability of exactly one is no bin of its own."""
    assert calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0


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
