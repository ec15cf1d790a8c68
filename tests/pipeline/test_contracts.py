"""What every registered approach, localiser and grader keeps to: a new one is tested by its name.

Every approach runs with its default options, and every localiser with every grader, on a small
phantom. Networks are the packaged ones where they are the same, else random ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from dicom_sr.findings import (
    TARGETS,
    Condition,
    Graded,
    NotAssessedReason,
    Report,
    Severity,
    Side,
    Target,
)
from tests.support.bundles import card_of, packaged_or_random
from worker.approaches import APPROACHES, TwoStage, create_approach, load_bundle
from worker.archive.folder import FolderArchive
from worker.domain.graded_study import GradedStudy
from worker.domain.predictions import Prediction
from worker.domain.study import Role
from worker.domain.volume import Volumes
from worker.findings import findings_of
from worker.grade import GRADERS
from worker.localise import LOCALISERS
from worker.models.bundle import Bundle, resolved
from worker.models.card import ApproachEntry, read_card, write_card
from worker.models.seam import StrategyOptions
from worker.phantom import SMALL, Phantom, make_phantom, write_phantom
from worker.pipeline import grade

SEED = 5

NAMES = [name for name in APPROACHES if name != TwoStage.name] + [
    f"{localiser}+{grader}" for localiser, grader in itertools.product(LOCALISERS, GRADERS)
]
"""Approaches by name, and approaches in two stages as localiser+grader."""


def entry_of(name: str) -> ApproachEntry:
    """What a card says of an approach."""
    if "+" not in name:
        return ApproachEntry(name=name, version=APPROACHES[name].version)
    return ApproachEntry(**resolved(TwoStage.of(*name.split("+"))))


@pytest.fixture(scope="module", params=NAMES)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Every approach as a bundle on the CPU."""
    folder = tmp_path_factory.mktemp("bundle")
    entry = entry_of(request.param)
    networks = packaged_or_random(folder, create_approach(entry).networks)
    write_card(card_of(folder, entry, networks), folder)
    return load_bundle(folder, "cpu")


def write(phantom: Phantom, folder: Path) -> Path:
    """A phantom on disk."""
    write_phantom(phantom, folder)
    return folder


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small phantom."""
    return write(make_phantom(SEED, slices=SMALL), tmp_path_factory.mktemp("straight"))


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mirror image of the same patient."""
    phantom = make_phantom(SEED, mirrored=True, slices=SMALL)
    return write(phantom, tmp_path_factory.mktemp("mirrored"))


@pytest.fixture(scope="module")
def graded(bundle: Bundle, straight: Path) -> GradedStudy:
    """The small phantom as this approach grades it."""
    return grade(str(straight), FolderArchive(), bundle)


def places(study: GradedStudy) -> dict[Target, np.ndarray]:
    """The patient position of every graded target's point."""
    planes = {h.image: h.plane for volume in study.volumes.all for h in volume.slices}
    return {
        f.target: planes[f.point.image].to_mm(f.point.column, f.point.row)
        for f in study.report.graded
    }


def across(target: Target) -> Target:
    """The same target on the other side of the patient."""
    if target.side is None:
        return target
    other = Side.RIGHT if target.side is Side.LEFT else Side.LEFT
    return Target(target.condition, target.level, other)


def test_every_target_is_answered(bundle: Bundle, graded: GradedStudy) -> None:
    """With a prediction, or with a reason; also where there is no volume at all."""
    for volumes in (graded.volumes, Volumes()):
        answers = bundle.approach.predict(volumes, bundle.runner)
        assert set(answers) >= set(TARGETS)
        kinds = Prediction | NotAssessedReason
        assert all(isinstance(answers[target], kinds) for target in TARGETS)
    assert not any(isinstance(answer, Prediction) for answer in answers.values())


def test_every_point_lies_inside_its_image(bundle: Bundle, graded: GradedStudy) -> None:
    """And names an image of the study; the image that was graded is one as well."""
    planes = {h.image: h.plane for volume in graded.volumes.all for h in volume.slices}
    for answer in bundle.approach.predict(graded.volumes, bundle.runner).values():
        if isinstance(answer, Prediction):
            assert planes[answer.point.image].contains(answer.point.column, answer.point.row)
            assert answer.graded_on in planes
            assert 0 <= answer.confidence <= 1


def test_results_are_reproducible(bundle: Bundle, graded: GradedStudy, straight: Path) -> None:
    """The same study gives the same report."""
    assert grade(str(straight), FolderArchive(), bundle).report == graded.report


def test_the_order_of_files_does_not_matter(
    bundle: Bundle, graded: GradedStudy, straight: Path, tmp_path: Path
) -> None:
    """Files under other names, in another order, give the same report."""
    files = sorted(straight.rglob("*.dcm"))
    for n, file in enumerate(reversed(files)):
        (tmp_path / f"{n:04}.dcm").symlink_to(file)
    assert grade(str(tmp_path), FolderArchive(), bundle).report == graded.report


def test_a_mirrored_patient_swaps_the_sides(
    bundle: Bundle, graded: GradedStudy, mirrored: Path
) -> None:
    """Points change sides, and so do the grades where the approach promises it."""
    other = grade(str(mirrored), FolderArchive(), bundle)
    here, there = places(graded), places(other)
    if bundle.approach.networks.keys() <= read_card().networks.keys():
        assert here, "the packaged networks assess nothing on the phantom"
    assert {across(target) for target in here} == set(there)
    for target, place in here.items():
        expected = place * (-1, 1, 1)
        assert np.linalg.norm(there[across(target)] - expected) < 3.0, target
    if not bundle.approach.mirror_symmetric:
        return
    for one in graded.report.graded:
        mirror = other.report[across(one.target)]
        assert isinstance(mirror, Graded)
        for severity in Severity:
            expected = pytest.approx(mirror.probabilities.of(severity), abs=0.1)
            assert one.probabilities.of(severity) == expected, (one.target, severity)


@pytest.mark.parametrize("missing", list(Role))
def test_a_missing_required_series_costs_its_conditions_alone(
    bundle: Bundle, graded: GradedStudy, missing: Role
) -> None:
    """What requires it is not assessed and says so; what does not is assessed all the same."""
    kept = {role.value: graded.volumes.of(role) for role in Role if role is not missing}
    volumes = Volumes(**kept)
    approach = bundle.approach
    answers = approach.predict(volumes, bundle.runner)
    findings = findings_of(answers, volumes, bundle.card, approach.requires)
    report = Report(graded.report.study_instance_uid, bundle.identity, findings)
    names = {
        Role.SAGITTAL_T1: NotAssessedReason.NO_SAGITTAL_T1,
        Role.SAGITTAL_T2: NotAssessedReason.NO_SAGITTAL_T2,
        Role.AXIAL_T2: NotAssessedReason.NO_AXIAL_T2,
    }
    for finding in report.not_assessed:
        if missing in approach.requires[finding.target.condition]:
            assert finding.reason in (names[missing], *_NUMBERING)
    for finding in report.graded:
        assert missing not in approach.requires[finding.target.condition]
    still = {finding.target for finding in report.graded}
    for finding in graded.report.graded:
        if missing not in approach.requires[finding.target.condition]:
            assert finding.target in still


_NUMBERING = (
    NotAssessedReason.NOT_LUMBAR,
    NotAssessedReason.TOO_FEW_LEVELS,
    NotAssessedReason.TRANSITIONAL_ANATOMY,
)

STRATEGIES: Mapping[str, object] = {**APPROACHES, **LOCALISERS, **GRADERS}


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_every_option_has_a_default_and_a_description(name: str) -> None:
    """And a strategy says its name, its version and its options."""
    strategy = STRATEGIES[name]
    assert strategy.name == name  # type: ignore[attr-defined]
    assert strategy.version >= 1  # type: ignore[attr-defined]
    options: type[StrategyOptions] = strategy.Options  # type: ignore[attr-defined]
    made = strategy(options())  # type: ignore[operator]
    assert made.options == options()
    for field_name, field in options.model_fields.items():
        assert not field.is_required(), field_name
        nested = isinstance(getattr(made.options, field_name), StrategyOptions)
        assert field.description or nested, field_name


@pytest.mark.parametrize("name", NAMES)
def test_every_condition_names_what_it_requires(name: str) -> None:
    """An approach that forgets a condition would let a missing series pass unnoticed."""
    assert set(create_approach(entry_of(name)).requires) == set(Condition)
