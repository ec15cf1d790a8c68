"""Metrics of points: by hand, by law, and as COCO counts them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_sr.findings import Level
from worker.evaluation.bootstrap import draw
from worker.evaluation.detection import SIDE, average_precision
from worker.evaluation.point_metrics import MarkedPoints, marked_points, point_metrics
from worker.evaluation.predictions import PointPrediction, SagittalWeighting


def point(level, found, truth, file="a.png", study="s", weighting=SagittalWeighting.T1, **more):
    """One row."""
    return PointPrediction(study, file, weighting, level, found, 0.9, truth, **more)


def observed(marked):
    """The metrics of the observed sample, None where undefined."""
    metrics = point_metrics(marked, np.ones((1, int(marked.study.max(initial=-1)) + 1)))
    return {n: float(v[0]) if np.isfinite(v[0]) else None for n, v in metrics.items()}


def metrics_of(*rows):
    """The metrics of some rows."""
    return observed(marked_points(rows, sorted({row.study_id for row in rows})))


def test_metrics_by_hand():
    """Errors are in widths: a squashed picture's rows are stretched back."""
    measured = metrics_of(
        point(Level.L1_L2, (0.53, 0.10), (0.50, 0.10), aspect=2.0, width_mm=200.0),
        point(Level.L2_L3, (0.50, 0.31), (0.50, 0.30), aspect=2.0, width_mm=200.0),
        point(Level.L3_L4, (0.50, 0.55), (0.50, 0.50), aspect=2.0, width_mm=200.0),
        point(Level.L4_L5, None, (0.50, 0.70), aspect=2.0, width_mm=200.0),
        point(Level.L5_S1, (0.50, 0.90), None, aspect=2.0, width_mm=200.0),
    )
    assert measured["found"] == pytest.approx(3 / 4)
    assert measured["right"] == pytest.approx(2 / 4)
    assert measured["median_error"] == pytest.approx(0.03)
    assert measured["mean_error"] == pytest.approx((0.03 + 0.02 + 0.10) / 3)
    assert measured["p90_error"] == pytest.approx(0.10)
    assert measured["median_error_mm"] == pytest.approx(6.0)
    assert measured["level_right"] == pytest.approx(3 / 4)
    assert measured["study_right"] == 0


def test_an_abstention_is_never_right():
    """A detector that finds nothing has no error to show, and no study right."""
    measured = metrics_of(*(point(level, None, (0.5, 0.5)) for level in Level))
    assert {name: measured[name] for name in ("found", "right", "level_right", "study_right")} == {
        "found": 0, "right": 0, "level_right": 0, "study_right": 0,
    }  # fmt: skip
    assert measured["median_error"] is None


def test_one_abstention_costs_the_study():
    """All annotated points of a study have to be right, in all of its pictures."""
    right = [
        point(level, (0.5, 0.5), (0.5, 0.5), study=study, file=f"{study}{level.name}")
        for study in ("a", "b")
        for level in Level
    ]
    assert metrics_of(*right)["study_right"] == 1
    lost = dataclasses.replace(right[0], found=None)
    assert metrics_of(lost, *right[1:])["study_right"] == 0.5


def test_a_level_named_wrongly_is_wrong_where_the_point_is_good():
    """Levels shifted by one find every disc and name none."""
    rows = []
    for k, level in enumerate(Level):
        shifted = (0.5, 0.1 + 0.2 * (k + 1))
        rows.append(point(level, shifted, (0.5, 0.1 + 0.2 * k)))
    measured = metrics_of(*rows)
    assert measured["right"] == 0
    # The uppermost mark has nothing nearer than its own, misplaced point.
    assert measured["level_right"] == pytest.approx(1 / 5)


def test_points_of_other_pictures_do_not_name_a_level():
    """Only what was found in the same picture competes."""
    rows = (
        point(Level.L1_L2, (0.5, 0.2), (0.5, 0.1), file="a.png"),
        point(Level.L2_L3, (0.5, 0.1), None, file="b.png"),
    )
    assert metrics_of(*rows)["level_right"] == 1


def test_unmarked_points_are_not_counted():
    """Without a mark there is nothing to be right about."""
    assert set(metrics_of(point(Level.L1_L2, (0.5, 0.5), None)).values()) == {None}


@given(st.integers(1, 30), st.integers(0, 10**6))
def test_a_resample_equals_copied_studies(n, seed):
    """Drawing a study twice is the same as having it twice, under another name."""
    rng = np.random.default_rng(seed)
    study = rng.integers(0, 5, n)
    error = np.where(rng.random(n) < 0.2, np.nan, np.round(rng.random(n) * 0.1, 2))
    marked = MarkedPoints(np.full(n, "L1/L2"), study, error, error * 200, rng.random(n) < 0.7)
    counts = draw(5, resamples=4, seed=seed)
    resampled = point_metrics(marked, counts)
    for k, drawn in enumerate(counts.astype(int)):
        copies = [
            (row, 10 * study[row] + copy) for row in range(n) for copy in range(drawn[study[row]])
        ]
        rows = np.array([row for row, _ in copies], dtype=int)
        copied = MarkedPoints(
            marked.level[rows],
            np.array([name for _, name in copies], dtype=np.int64),
            error[rows],
            error[rows] * 200,
            marked.level_right[rows],
        )
        for name, value in observed(copied).items():
            if value is not None:
                assert resampled[name][k] == pytest.approx(value), name
    once = point_metrics(marked, np.ones((1, 5)))["median_error"][0]
    found = error[np.isfinite(error)]
    assert once == pytest.approx(np.median(found)) if len(found) else np.isnan(once)


def test_average_precision_by_hand():
    """Exact points have AP and AR one; moved by a quarter of the box, IoU is 3/5."""
    exact = [point(level, (0.5, 0.1 * k), (0.5, 0.1 * k)) for k, level in enumerate(Level)]
    ap, ar = average_precision(exact)[None]
    assert (ap, ar) == (pytest.approx(1), pytest.approx(1))
    moved = [
        dataclasses.replace(row, found=(row.found[0] + SIDE * 0.245, row.found[1])) for row in exact
    ]
    ap, ar = average_precision(moved)[None]
    # Right at 0.50, 0.55 and 0.60 of the ten thresholds.
    assert (ap, ar) == (pytest.approx(0.3, abs=0.01), pytest.approx(0.3, abs=0.01))


def test_unmarked_levels_count_against_t2_and_not_against_t1():
    """On T1 the others are visible but unlabelled; on T2 every disc there is is marked."""
    for weighting, expected in ((SagittalWeighting.T1, 1.0), (SagittalWeighting.T2, 0.5)):
        rows = [
            point(Level.L1_L2, (0.5, 0.1), (0.5, 0.1), weighting=weighting),
            point(Level.L2_L3, (0.5, 0.3), (0.5, 0.3), file="b.png", weighting=weighting),
            dataclasses.replace(
                point(Level.L2_L3, (0.5, 0.3), None, weighting=weighting), confidence=1.0
            ),
        ]
        by_level = average_precision(rows)
        assert by_level[Level.L1_L2][0] == pytest.approx(1)
        assert by_level[Level.L2_L3][0] == pytest.approx(expected, abs=0.01)


def test_without_a_mark_there_is_no_average_precision():
    """Nothing to find is not the same as finding nothing."""
    assert average_precision([point(Level.L1_L2, (0.5, 0.5), None)]) == {}
