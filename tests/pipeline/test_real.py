"""The shipped bundle on real studies; skipped where the data is absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicom_sr.findings import Condition
from dicom_sr.reader import read
from worker.archive.folder import FolderArchive
from worker.bundles.loading import DEFAULT, GRADERS, Bundle
from worker.evaluation.compare import compare
from worker.evaluation.scores import constant_log_loss, weighted_log_loss
from worker.pipeline import GradedStudy, grade, structured_report
from worker.report.document import document
from worker.training.bundling import predict_held_out, softmax
from worker.training.recipe import GradedSamples, read_graded, read_recipe


@pytest.fixture(scope="module")
def annotated(real_data: Path, bundle: Bundle) -> GradedStudy:
    """The study whose 25 grades and points are known; no grader and no detector saw it."""
    return grade(str(real_data / "rsna_2024/train_images/1002894806"), FolderArchive(), bundle)


@pytest.fixture(scope="module")
def unlabelled(real_data: Path, bundle: Bundle) -> GradedStudy:
    """The study without annotations: scoliosis, thin slices."""
    return grade(str(real_data / "rsna_2024/test_images/44036939"), FolderArchive(), bundle)


def test_most_targets_of_real_studies_are_graded(
    annotated: GradedStudy, unlabelled: GradedStudy
) -> None:
    """At least 22 of 25 targets of each; the rest say why not."""
    for study in (annotated, unlabelled):
        assert len(study.report.graded) >= 22
        assert all(finding.reason.words for finding in study.report.not_assessed)


def test_points_lie_where_readers_put_them(annotated: GradedStudy, real_data: Path) -> None:
    """Canal, foramina and axial planes are within the distances that readers need."""
    comparison = compare(document(annotated), real_data / "rsna_2024")
    missed = [f"{v.what}: {v.figure}" for v in comparison.verdicts if not v.passed]
    assert not missed


def test_reports_of_real_studies_come_back_equal(
    annotated: GradedStudy, unlabelled: GradedStudy
) -> None:
    """Repaired research exports give SRs that the reader reads back equal."""
    for study in (annotated, unlabelled):
        assert read(structured_report(study)) == study.report


@pytest.fixture(scope="module")
def real_samples(real_data: Path) -> GradedSamples:
    """The graded crops of all studies."""
    return read_graded(real_data)


@pytest.mark.slow
def test_graders_beat_the_constant_on_studies_they_have_not_seen(
    real_samples: GradedSamples,
) -> None:
    """On its held-out real fold each grader's weighted log loss is below the best constant's."""
    files = {name: DEFAULT / f"{name}.safetensors" for name in GRADERS}
    predictions = predict_held_out(real_samples, read_recipe(), files)
    assert set(predictions) == set(Condition)
    for condition, found in predictions.items():
        loss = weighted_log_loss(softmax(found.logits), found.labels)
        constant = constant_log_loss(found.training_labels, found.labels)
        print(f"{condition.words}: {loss:.3f} against {constant:.3f} of a constant")
        assert loss < constant
