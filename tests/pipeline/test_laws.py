"""The whole way on phantoms: sides, mirroring, order, and whether grades mean anything."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dicom_sr.findings import TARGETS, Condition, Graded, Report, Severity, Side, Target
from worker.archive.folder import FolderArchive
from worker.domain.graded_study import GradedStudy
from worker.models.bundle import Bundle
from worker.phantom import SMALL, make_phantom, write_phantom
from worker.phantom.lesions import TRAINING
from worker.phantom.study import Phantom
from worker.pipeline import grade

LESIONS = {
    "L4/L5 left subarticular stenosis": Severity.SEVERE,
    "L5/S1 right neural foraminal narrowing": Severity.SEVERE,
    "L3/L4 left neural foraminal narrowing": Severity.SEVERE,
    "L3/L4 right subarticular stenosis": Severity.SEVERE,
}
ONE_SIDED = {Target.parse(text): severity for text, severity in LESIONS.items()}


def graded(phantom: Phantom, folder: Path, bundle: Bundle) -> GradedStudy:
    write_phantom(phantom, folder)
    return grade(str(folder), FolderArchive(), bundle)


@pytest.fixture(scope="module")
def straight(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> GradedStudy:
    """A phantom with one-sided lesions."""
    phantom = make_phantom(3, ONE_SIDED, slices=SMALL)
    return graded(phantom, tmp_path_factory.mktemp("straight"), bundle)


@pytest.fixture(scope="module")
def mirrored(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> GradedStudy:
    """The same patient in the mirror."""
    phantom = make_phantom(3, ONE_SIDED, slices=SMALL, mirrored=True)
    return graded(phantom, tmp_path_factory.mktemp("mirrored"), bundle)


def finding(report: Report, target: Target) -> Graded:
    found = report[target]
    assert isinstance(found, Graded), f"{target}: {found}"
    return found


def other_side(target: Target) -> Target:
    if target.side is None:
        return target
    side = Side.RIGHT if target.side is Side.LEFT else Side.LEFT
    return Target(target.condition, target.level, side)


def position_mm(study: GradedStudy, target: Target) -> np.ndarray:
    point = finding(study.report, target).point
    every = (s for v in study.volumes.all for s in v.slices)
    plane = next(s.plane for s in every if s.image == point.image)
    return plane.to_mm(point.column, point.row)


@pytest.mark.parametrize("lesion", ONE_SIDED, ids=str)
def test_a_one_sided_lesion_shows_on_its_side(straight: GradedStudy, lesion: Target) -> None:
    """At the lesion the severe probability is higher than on the healthy side by 0.1."""
    sick = finding(straight.report, lesion).probabilities
    healthy = finding(straight.report, other_side(lesion)).probabilities
    assert healthy.normal_mild - sick.normal_mild >= 0.1
    assert sick.severe > healthy.severe


def test_mirroring_the_patient_swaps_points(straight: GradedStudy, mirrored: GradedStudy) -> None:
    """Every point moves to the mirrored place of the other side, within 2 mm."""
    for target in TARGETS:
        expected = position_mm(straight, target) * (-1, 1, 1)
        found = position_mm(mirrored, other_side(target))
        assert np.linalg.norm(found - expected) < 2, str(target)


def test_mirroring_the_patient_swaps_probabilities(
    straight: GradedStudy, mirrored: GradedStudy
) -> None:
    """Every probability goes to the other side, within 0.05."""
    for target in TARGETS:
        one = finding(straight.report, target).probabilities
        other = finding(mirrored.report, other_side(target)).probabilities
        for severity in Severity:
            assert abs(one.of(severity) - other.of(severity)) < 0.05, str(target)


def test_left_points_lie_to_the_patients_left(straight: GradedStudy) -> None:
    """Patient x of every left point is larger than that of the right one, by anatomy's measure."""
    for target in TARGETS:
        if target.side is Side.LEFT:
            gap = position_mm(straight, target)[0] - position_mm(straight, other_side(target))[0]
            assert 10 < gap < 60, str(target)


def test_the_order_and_names_of_files_change_nothing(
    straight: GradedStudy, bundle: Bundle, tmp_path: Path
) -> None:
    """The same files under random names in one folder give the equal report."""
    source = tmp_path / "source"
    write_phantom(make_phantom(3, ONE_SIDED, slices=SMALL), source)
    files = sorted(source.rglob("*.dcm"))
    random.Random(5).shuffle(files)
    shuffled = tmp_path / "shuffled"
    shuffled.mkdir()
    for number, file in enumerate(files):
        shutil.copy(file, shuffled / f"{number:04d}")
    assert grade(str(shuffled), FolderArchive(), bundle).report == straight.report


@pytest.mark.slow
def test_graders_rank_severe_above_normal(
    bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Over six phantoms each grader tells severe from normal with AUC 0.8 or more."""
    severe: dict[Condition, list[float]] = {c: [] for c in Condition}
    truth: dict[Condition, list[bool]] = {c: [] for c in Condition}
    missing = 0
    for seed in range(6):
        phantom = make_phantom(seed, slices=SMALL, prevalence=TRAINING)
        report = graded(phantom, tmp_path_factory.mktemp("auc"), bundle).report
        missing += len(report.not_assessed)
        for found in report.graded:
            actual = phantom.severities[found.target]
            if actual is not Severity.MODERATE:
                severe[found.target.condition].append(found.probabilities.severe)
                truth[found.target.condition].append(actual is Severity.SEVERE)
    aucs = {c: roc_auc_score(truth[c], severe[c]) for c in Condition}
    print(f"\nseverity AUC over 6 phantoms, {missing} of 150 targets not assessed:")
    for condition, auc in aucs.items():
        print(f"  {condition.label}: {auc:.3f} (n = {len(truth[condition])})")
    assert min(aucs.values()) >= 0.8
    assert missing <= 7
