"""Whole studies in the challenge's layout: every target is scored, every point in its own file."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_sr.findings import TARGETS, Condition
from tests.support.phantoms import TINY, shared_phantom
from worker.approaches import load_bundle
from worker.datasets.folds import fold_of
from worker.errors import BadSettings
from worker.evaluation.predictions import SagittalWeighting
from worker.evaluation.studies import PREVALENCE, WEIGHTINGS, rsna
from worker.models.studies import training_studies
from worker.phantom.study import Phantom
from worker.phantom.writing import write_phantom

MARKED = [target for target in TARGETS if target.condition in WEIGHTINGS]


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    """The smallest study that shows every target."""
    return shared_phantom(5, TINY)


@pytest.fixture(scope="module")
def folder(phantom, tmp_path_factory) -> Path:
    """The same on disk."""
    place = tmp_path_factory.mktemp("rsna")
    write_phantom(phantom, place)
    return place


@pytest.fixture(scope="module")
def unassessed(folder, untrained):
    """What a bundle says that finds nothing, and the steps it told."""
    told = []
    grades, points = rsna(folder, untrained, lambda *both: told.append(both))
    return grades, points, told


def test_every_target_has_a_row_with_its_label(unassessed, phantom) -> None:
    """25 grades a study, whatever was found, each beside the phantom's own severity."""
    grades, _, told = unassessed
    assert [row.target for row in grades.rows] == list(TARGETS)
    assert {row.study_id for row in grades.rows} == {phantom.study_instance_uid}
    assert all(row.truth is phantom.severities[row.target] for row in grades.rows)
    assert told == [(0, 1), (1, 1)]


def test_what_is_not_assessed_counts_with_the_prevalence_and_is_told(unassessed) -> None:
    """No target escapes the score: a problem names each that was stood in for, and why."""
    grades, _, _ = unassessed
    assert len(grades.provenance.problems) == len(TARGETS)
    for row, problem in zip(grades.rows, grades.provenance.problems, strict=True):
        assert row.posterior == PREVALENCE[row.target.condition]
        assert str(row.target) in problem
        assert "not assessed" in problem


def test_the_prevalences_are_shares() -> None:
    """Of each condition they sum to one."""
    for condition in Condition:
        shares = PREVALENCE[condition]
        assert shares.normal_mild + shares.moderate + shares.severe == pytest.approx(1)


def test_marks_lie_where_the_phantom_has_them(unassessed, phantom, folder) -> None:
    """In fractions of the annotated file, which exists; canal on T2, foramina on T1."""
    _, points, _ = unassessed
    assert len(points.rows) == len(MARKED)
    planes = {
        image: plane
        for series in phantom.series
        for image, plane in zip(series.sop_instance_uids, series.planes, strict=True)
    }
    wanted = set()
    for target in MARKED:
        point = phantom.points[target].image_point
        plane = planes[point.image.sop_instance_uid]
        x, y = (point.column + 0.5) / plane.columns, (point.row + 0.5) / plane.rows
        name = (phantom.study_instance_uid, point.image.series_instance_uid)
        file = "/".join((*name, f"{phantom.points[target].index + 1}.dcm"))
        assert (folder / "train_images" / file).is_file()
        wanted.add((file, target.level, WEIGHTINGS[target.condition], round(x, 6), round(y, 6)))
    found = {
        (r.file, r.level, r.weighting, round(r.truth[0], 6), round(r.truth[1], 6))
        for r in points.rows
    }
    assert found == wanted
    assert all(row.found is None and row.confidence == 0 for row in points.rows)


def test_found_points_lie_in_the_annotated_file(folder, phantom) -> None:
    """The shipped bundle finds the phantom's levels, in fractions of the very file marked."""
    bundle = replace(load_bundle(device="cpu"), studies=training_studies([]))
    grades, points = rsna(folder, bundle, lambda _done, _total: None)
    assert len(grades.rows) == len(TARGETS)
    found = [row for row in points.rows if row.found is not None]
    assert len(found) >= len(MARKED) * 0.8
    assert {row.weighting for row in found} == set(SagittalWeighting)
    for row in found:
        assert 0 < row.confidence <= 1
        assert row.error < 0.04
        assert row.width_mm > 100
    assert any(row.posterior != PREVALENCE[row.target.condition] for row in grades.rows)


def test_a_study_that_was_learnt_from_is_left_out_where_all_have_seen_it(
    folder, untrained, phantom
) -> None:
    """One network without a member kept from it is enough; it is counted and not graded."""
    study = phantom.study_instance_uid
    entry = untrained.card.networks["sagittal_points"]
    fold = (fold_of(study, entry.folds) + 1) % entry.folds
    member = entry.members[0].model_copy(update={"held_out": fold})
    other = entry.model_copy(update={"members": (member,)})
    networks = {**untrained.card.networks, "sagittal_points": other}
    seen = replace(
        untrained,
        card=untrained.card.model_copy(update={"networks": networks}),
        studies=training_studies([study]),
    )
    grades, points = rsna(folder, seen, lambda _done, _total: None)
    assert (grades.rows, points.rows) == ((), ())
    assert grades.provenance.left_out == 1


def test_a_study_that_cannot_be_graded_is_told(folder, untrained, tmp_path) -> None:
    """A folder with nothing in it is a problem, and counts with the prevalence of each target."""
    for table in folder.glob("*.csv"):
        shutil.copy(table, tmp_path)
    (tmp_path / "train_images" / "999").mkdir(parents=True)
    (tmp_path / "train_images" / "999" / "note.txt").write_text("nothing")
    grades, _ = rsna(tmp_path, untrained, lambda _done, _total: None)
    assert {row.target for row in grades.rows} == set(TARGETS)
    assert all(row.posterior == PREVALENCE[row.target.condition] for row in grades.rows)
    assert any("study 999 is scored" in problem for problem in grades.provenance.problems)


def test_a_folder_of_another_layout_is_refused(tmp_path, untrained) -> None:
    """The error says what the folder should hold."""
    with pytest.raises(BadSettings, match="has no train_images"):
        rsna(tmp_path, untrained, lambda _done, _total: None)
