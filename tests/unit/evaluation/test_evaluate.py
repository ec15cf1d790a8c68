"""A whole evaluation: laws over made-up sheets."""

import dataclasses
import random

import numpy as np
import pytest

from dicom_sr.findings import Condition, Level, Severity
from worker.evaluation.acceptance import acceptance_results
from worker.evaluation.bootstrap import draw, share_estimate
from worker.evaluation.evaluate import evaluate
from worker.evaluation.predictions import GradeSheet, Provenance, SagittalWeighting
from worker.evaluation.results import Estimate, Task

FORAMINA = Condition.NEURAL_FORAMINAL_NARROWING


@pytest.fixture(scope="module")
def whole(grades, points):
    """All three conditions and the points of one sheet, evaluated."""
    return evaluate(Task.RSNA, grades(), points(), resamples=100)


def every_estimate(evaluation):
    """All estimates of an evaluation."""
    for group in evaluation.grade_groups:
        yield from group.metrics.values()
        for by_name in group.classes.values():
            yield from by_name.values()
    for group in evaluation.point_groups:
        yield from group.metrics.values()
    yield from evaluation.competition.values()


def test_every_interval_holds_its_figure(whole):
    """Low, value and high stand in order wherever there is an interval."""
    bounded = [f for f in every_estimate(whole) if f.low is not None]
    assert len(bounded) > 100
    assert all(f.low <= f.value <= f.high for f in bounded)


def test_every_condition_and_level_is_there(whole):
    """All levels first, then each; their rows add up."""
    for condition in Condition:
        groups = [g for g in whole.grade_groups if g.condition is condition]
        assert [g.level for g in groups] == [None, *Level]
        assert groups[0].n == sum(g.n for g in groups[1:]) == sum(groups[0].counts)
    assert whole.point_group(SagittalWeighting.T1).n == sum(
        whole.point_group(SagittalWeighting.T1, level).n for level in Level
    )


def test_the_order_of_rows_changes_nothing(whole, grades, points):
    """Figures, intervals and curves are equal to the last bit for shuffled rows."""
    shuffled = []
    for sheet in (grades(), points()):
        rows = list(sheet.rows)
        random.Random(1).shuffle(rows)
        shuffled.append(dataclasses.replace(sheet, rows=tuple(rows)))
    repeated = evaluate(Task.RSNA, *shuffled, resamples=100)
    for name in ("grade_groups", "point_groups", "competition"):
        assert getattr(repeated, name) == getattr(whole, name)


def test_the_score_is_the_mean_of_its_four_parts(whole):
    """As the challenge defines it; each condition's part is its own figure."""
    parts = dict(whole.competition)
    score = parts.pop("score")
    assert set(parts) == {*Condition, "any_severe_spinal"}
    assert score.value == pytest.approx(np.mean([part.value for part in parts.values()]))
    for condition in Condition:
        assert parts[condition] == whole.grade_group(condition).metrics["weighted_log_loss"]


def test_without_all_three_conditions_there_is_no_score(grades):
    """A part of the challenge is not the challenge."""
    some = evaluate(Task.FORAMINAL, grades((FORAMINA,)), resamples=10)
    assert not some.competition
    assert some.grade_group(Condition.SPINAL_CANAL_STENOSIS) is None


def test_rows_without_a_label_are_not_scored(grades):
    """They change no figure; alone they give none, and no error."""
    sheet = grades((FORAMINA,))
    blank = tuple(dataclasses.replace(row, truth=None) for row in sheet.rows)
    more = GradeSheet(sheet.rows + blank, sheet.provenance)
    scored = evaluate(Task.FORAMINAL, more, resamples=20).grade_groups
    assert scored == evaluate(Task.FORAMINAL, sheet, resamples=20).grade_groups
    assert evaluate(Task.FORAMINAL, GradeSheet(blank, sheet.provenance)).grade_groups == ()


def test_an_empty_sheet_gives_no_figure():
    """Nothing in, nothing out."""
    empty = evaluate(Task.FORAMINAL, GradeSheet((), Provenance(0, 0, 0)))
    assert list(every_estimate(empty)) == []


def test_a_level_without_a_severe_example_keeps_its_other_figures(grades):
    """None stands for what cannot be computed there."""
    sheet = grades((FORAMINA,))
    milder = tuple(
        dataclasses.replace(row, truth=Severity.MODERATE)
        if row.target.level is Level.L1_L2 and row.truth is Severity.SEVERE
        else row
        for row in sheet.rows
    )
    evaluation = evaluate(Task.FORAMINAL, GradeSheet(milder, sheet.provenance), resamples=20)
    group = evaluation.grade_group(FORAMINA, Level.L1_L2)
    assert group.metrics["auc_severe"] == Estimate(None)
    assert group.metrics["accuracy"].value is not None
    assert evaluation.grade_group(FORAMINA).metrics["auc_severe"].value is not None


def test_progress_runs_from_zero_to_all(grades, points):
    """The first call says how much there is, the last that it is done."""
    calls = []
    evaluate(Task.RSNA, grades(), points(), resamples=5, observe=lambda *state: calls.append(state))
    total = 6 * 3 + 6
    assert calls == [(done, total) for done in range(total + 1)]


def test_whole_studies_are_drawn_and_the_seed_decides():
    """Every resample has as many studies as there are, the same for the same seed."""
    counts = draw(17, 40, seed=3)
    assert counts.shape == (41, 17)
    assert (counts[0] == 1).all()
    assert (counts.sum(axis=1) == 17).all()
    assert np.array_equal(counts, draw(17, 40, seed=3))
    assert not np.array_equal(counts, draw(17, 40, seed=4))


def test_all_right_in_a_few_studies_is_not_certainty():
    """Three right of three says at least 29 %, by Clopper and Pearson."""
    share = share_estimate(np.ones(101), studies=3)
    assert (share.value, share.high) == (1.0, 1.0)
    assert share.low == pytest.approx(0.025 ** (1 / 3))


def test_acceptance_is_decided_by_the_value(grades):
    """A perfect grader meets all; the ECE limit applies only if the AUC criterion is met."""
    sheet = grades((FORAMINA,))

    def results_of(rows):
        measured = evaluate(Task.FORAMINAL, GradeSheet(rows, sheet.provenance), resamples=5)
        return {result.metric: result.met for result in acceptance_results(measured)}

    certain = {row.truth: np.eye(3)[row.truth.rank] for row in sheet.rows}
    perfect = tuple(
        dataclasses.replace(row, posterior=type(row.posterior)(*certain[row.truth]))
        for row in sheet.rows
    )
    assert set(results_of(perfect).values()) == {True}
    same = tuple(
        dataclasses.replace(row, posterior=type(row.posterior)(0.7, 0.2, 0.1)) for row in sheet.rows
    )
    assert results_of(same) == {"weighted_log_loss": False, "auc_severe": False, "ece_severe": None}


def test_whole_studies_have_no_acceptance_criteria(whole):
    """The criteria are those of single images at marked points."""
    assert acceptance_results(whole) == ()
