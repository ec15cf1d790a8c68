"""From recipes to a bundle that loads: on phantoms, in one epoch each."""

from dataclasses import replace

import numpy as np
import pytest

from dicom_sr.findings import Condition, Level, Probabilities, Severity, Target
from tests.support.bundles import NETWORKS
from tests.support.training import SPECS
from worker.approaches import TwoStage, load_bundle, read_identity
from worker.domain.predictions import SEVERITY_WEIGHTS
from worker.evaluation.predictions import (
    GradePrediction,
    GradeSheet,
    PointPrediction,
    PointSheet,
    Provenance,
    SagittalWeighting,
)
from worker.grade.crops import posteriors
from worker.models.calibration import at_temperature
from worker.models.card import PlattScaling, read_card
from worker.models.networks import build_network
from worker.models.studies import read_studies, training_studies
from worker.training.axial_detections import Detections, detect_axial
from worker.training.bundling import OutOfFold, assemble, finish, make_bundle
from worker.training.members import RunConfig, save_network

pytestmark = pytest.mark.slow


APPROACH = TwoStage.of("heatmaps", "crops")


@pytest.fixture
def recipes(recipe):
    """Make tiny recipes of all networks, in the order of a whole training."""

    def make(**changes):
        made = {name: recipe(name, batch=2, samples=2, **changes) for name in SPECS}
        made["axial_grades"] = made["axial_grades"].model_copy(update={"start": "foraminal_grades"})
        return made

    return make


@pytest.mark.slow
def test_phantoms_alone_make_a_bundle_that_loads(phantoms_alone, recipes, tmp_path) -> None:
    """Trained, assembled, carded and accepted; nothing was measured, and nothing is claimed."""
    out, config = tmp_path / "out", RunConfig(tmp_path / "runs", "cpu", 1, False)
    card = make_bundle(phantoms_alone, out, config, APPROACH, recipes(), name="tiny")
    assert read_card(out) == card
    bundle = load_bundle(out, "cpu")
    assert bundle.identity.name == "tiny"
    members = {name: len(bundle.runner.networks[name]) for name in NETWORKS}
    assert members == dict.fromkeys(NETWORKS, 1)
    assert all(card.calibration[condition].temperature == 1.0 for condition in Condition)
    assert bundle.runner.platt_scaling == {}
    assert card.figures == {}
    assert len(bundle.studies) == 0
    assert (out / "README.md").read_text().strip()
    # Another seed gives other weights, and so another device.
    other = RunConfig(tmp_path / "other runs", "cpu", 1, False)
    make_bundle(phantoms_alone, tmp_path / "other", other, APPROACH, recipes(seed=1), name="tiny")
    again = read_identity(tmp_path / "other")
    assert again.device_uid != bundle.identity.device_uid
    assert again.sha256 != bundle.identity.sha256


@pytest.fixture
def assembled(untrained_folder, recipes, tmp_path):
    """A bundle of untrained members of both folds, put together but not calibrated."""
    files = {}
    made = recipes(held_out=[0, 1])
    for network, own in made.items():
        files[network] = []
        for fold in own.held_out:
            path = tmp_path / "runs" / f"{network}-{fold}.safetensors"
            heads = len(SPECS[network].heads)
            save_network(build_network(own.architecture, heads, own.kwargs), path)
            files[network].append(path)
    out = tmp_path / "assembled"
    return out, assemble(out, files, APPROACH, made, {"1002894806", "77"}, "assembled")


def test_an_assembled_bundle_loads_and_is_neutral(assembled) -> None:
    """Every member is there under the fold that it was kept from, and the card hides nothing."""
    out, card = assembled
    bundle = load_bundle(out, "cpu")
    for network in NETWORKS:
        entry = bundle.card.networks[network]
        assert [member.held_out for member in entry.members] == [0, 1]
        assert len(bundle.runner.networks[network]) == 2
        assert entry.heads == SPECS[network].heads
    assert bundle.runner.platt("sagittal_points", 0.3) == pytest.approx(0.3)
    assert bundle.card == card
    assert "non-commercial" in card.licence.lower()


def test_a_bundle_knows_what_it_learnt_from_and_nothing_else(assembled) -> None:
    """The studies that were given, by hash."""
    out, card = assembled
    studies = read_studies(out, card.training_studies)
    assert studies == training_studies(["77", "1002894806"])
    assert card.training_studies.count == 2
    assert "77" in studies
    assert "78" not in studies


def grade_sheet(conditions) -> GradeSheet:
    """Sixty studies with imperfect, overconfident grades of every target."""
    rng = np.random.default_rng(0)
    rows = []
    for study in range(60):
        for condition in conditions:
            for side in condition.sides:
                for level in Level:
                    truth = int(rng.choice(3, p=(0.7, 0.2, 0.1)))
                    logits = 3 * rng.normal(0, 1, 3) - 3 * abs(np.arange(3) - truth)
                    shares = np.exp(logits - logits.max())
                    rows.append(
                        GradePrediction(
                            f"study{study}",
                            f"{study}.png",
                            Target(condition, level, side),
                            Probabilities(*(shares / shares.sum())),
                            list(Severity)[truth],
                        )
                    )
    return GradeSheet(tuple(rows), Provenance(60, 0, 0))


def point_sheet(weighting: SagittalWeighting) -> PointSheet:
    """Twenty pictures, most levels found near their marks."""
    rng = np.random.default_rng(0)
    rows = [
        PointPrediction(
            f"study{study}",
            f"{study}.png",
            weighting,
            level,
            None if rng.random() < 0.05 else (0.5 + rng.normal(0, 0.02), 0.1 + 0.2 * n),
            float(rng.random()),
            (0.5, 0.1 + 0.2 * n),
        )
        for study in range(20)
        for n, level in enumerate(Level)
    ]
    return PointSheet(tuple(rows), Provenance(20, 0, 0))


@pytest.fixture(scope="module")
def unseen() -> OutOfFold:
    """What members could have said of studies that they had not seen."""
    rng = np.random.default_rng(0)
    axial = (Condition.SPINAL_CANAL_STENOSIS, Condition.SUBARTICULAR_STENOSIS)
    return OutOfFold(
        foraminal=grade_sheet([Condition.NEURAL_FORAMINAL_NARROWING]),
        axial=grade_sheet(axial),
        t1=point_sheet(SagittalWeighting.T1),
        t2=point_sheet(SagittalWeighting.T2),
        recesses=Detections(rng.uniform(0.1, 0.9, 200), rng.exponential(0.03, 200)),
    )


def test_a_finished_card_is_calibrated_and_loads(assembled, unseen) -> None:
    """With every figure that it holds, the card is still one that the worker can read."""
    out, card = assembled
    done = finish(out, card, unseen)
    assert read_card(out) == done
    bundle = load_bundle(out, "cpu")
    for condition in Condition:
        assert done.calibration[condition].temperature > 1.2
        assert 1 / 3 < done.decision[condition].abstain_below < 1
        figures = done.figures[condition.value]
        assert set(figures["levels"]) == {level.value for level in Level}
        assert sum(figures["counts"]) == figures["n"]
        assert sum(map(sum, figures["confusion"])) == figures["n"]
        assert figures["coverage_accuracy"][-1][0] == 1
        value, low, high = figures["weighted_log_loss"]
        assert low <= value <= high
    assert {"levels_t1", "levels_t2", "axial_points"} <= set(done.figures)
    scaling = bundle.runner.platt_scaling
    assert scaling.keys() == {"sagittal_points", "axial_points"}
    assert all(one != PlattScaling() for one in scaling.values())
    assert (out / "README.md").read_text().strip()


def test_calibration_is_another_device(assembled, unseen) -> None:
    """The Device UID of what was measured is not that of what was assembled; figures alone do not
    change it."""
    out, card = assembled
    assembled_uid = read_identity(out).device_uid

    def finished_uid(predicted: OutOfFold) -> str:
        finish(out, card, predicted)
        return read_identity(out).device_uid

    done = finished_uid(unseen)
    assert done != assembled_uid
    assert finished_uid(unseen) == done
    assert finished_uid(replace(unseen, t2=None)) == done


def test_without_predictions_a_bundle_stays_neutral(assembled) -> None:
    """Nothing unseen, nothing calibrated, and the bundle still loads."""
    out, card = assembled
    before = read_identity(out)
    done = finish(out, card, OutOfFold(None, None, None, None, None))
    assert done.calibration == card.calibration
    assert load_bundle(out, "cpu").identity == before


def test_the_axial_detector_is_measured_on_moved_windows(untrained, rendered) -> None:
    """One score and one error for each point that is there, the same ones every time."""
    found = detect_axial(untrained.runner, rendered["axial_points"])
    assert found.scores.shape == found.errors.shape == (3 * len(rendered["axial_points"]),)
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert (found.errors > 0.04).any()
    again = detect_axial(untrained.runner, rendered["axial_points"])
    np.testing.assert_array_equal(found.errors, again.errors)


def test_a_calibrated_posterior_is_what_the_worker_says() -> None:
    """Posteriors at 1, warmed afterwards, are those of the logits at that temperature."""
    import torch

    logits = torch.tensor([[0.3, 1.4, -2.0], [2.0, 0.1, 1.1]])
    weights = torch.tensor(SEVERITY_WEIGHTS).log()
    direct = torch.softmax((logits - weights) / 1.6, dim=-1)
    for posterior, row in zip(posteriors(logits), direct, strict=True):
        warmed = at_temperature(posterior, 1.6)
        for severity, expected in zip(Severity, row.tolist(), strict=True):
            assert warmed.of(severity) == pytest.approx(expected, abs=1e-5)
