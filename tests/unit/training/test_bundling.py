"""From recipes to a bundle that loads: on phantoms, in one epoch each."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest

from dicom_sr.findings import Condition, Level, Probabilities, Severity, Target
from worker.evaluation.predictions import (
    GradePrediction,
    GradeSheet,
    PointPrediction,
    PointSheet,
    Provenance,
    SagittalWeighting,
)
from worker.grade.graders import posteriors
from worker.models.card import CARD, NETWORKS, content_hash, read_card
from worker.models.loading import load_bundle
from worker.models.networks import ARCHITECTURES
from worker.models.studies import read_studies, training_studies
from worker.training.axial_detections import Detections, detect_axial
from worker.training.bundling import Unseen, assemble, finish, make_bundle
from worker.training.calibration import NEUTRAL_BELIEF
from worker.training.members import OUTPUTS, Workshop, save_network
from worker.training.recipe import ORDER


@pytest.fixture
def recipes(recipe):
    """Make tiny recipes of all networks, in the order of a whole training."""

    def make(**changes):
        made = {name: recipe(name, batch=2, samples=2, **changes) for name in ORDER}
        made["axial_grades"] = made["axial_grades"].model_copy(update={"start": "foraminal_grades"})
        return made

    return make


@pytest.mark.slow
def test_phantoms_alone_make_a_bundle_that_loads(phantoms_alone, recipes, tmp_path) -> None:
    """Trained, assembled, carded and accepted; nothing was measured, and nothing is claimed."""
    out, workshop = tmp_path / "out", Workshop(tmp_path / "runs", "cpu", 1, False)
    card = make_bundle(phantoms_alone, out, workshop, recipes(), name="tiny")
    assert read_card(out) == tomllib.loads((out / CARD).read_text()) == card
    bundle = load_bundle(out, "cpu")
    assert bundle.identity.name == "tiny"
    assert bundle.identity.device_uid == card["device_uid"]
    assert {name: len(bundle.networks[name]) for name in NETWORKS} == dict.fromkeys(NETWORKS, 1)
    assert all(bundle.temperatures[condition] == 1.0 for condition in Condition)
    assert all(tuple(belief) == NEUTRAL_BELIEF for belief in bundle.beliefs.values())
    assert card["figures"] == {}
    assert len(bundle.studies) == 0
    assert (out / "README.md").read_text().strip()
    # Another seed gives other weights, and so another device.
    other = Workshop(tmp_path / "other runs", "cpu", 1, False)
    again = make_bundle(phantoms_alone, tmp_path / "other", other, recipes(seed=1), name="tiny")
    assert again["device_uid"] != card["device_uid"]
    assert content_hash(again) != content_hash(card)


@pytest.fixture
def assembled(untrained_folder, recipes, tmp_path):
    """A bundle of untrained members of both folds, put together but not calibrated."""
    files = {}
    made = recipes(held_out=[0, 1])
    for network, own in made.items():
        files[network] = []
        for fold in own.held_out:
            path = tmp_path / "runs" / f"{network}-{fold}.safetensors"
            save_network(ARCHITECTURES[own.architecture](OUTPUTS[network]), path)
            files[network].append(path)
    out = tmp_path / "assembled"
    return out, assemble(out, files, made, {"1002894806", "77"}, "assembled")


def test_an_assembled_bundle_loads_and_is_neutral(assembled) -> None:
    """Every member is there under the fold that it was kept from, and the card hides nothing."""
    out, card = assembled
    bundle = load_bundle(out, "cpu")
    for network in NETWORKS:
        entry = bundle.card["networks"][network]
        assert [member["held_out"] for member in entry["members"]] == [0, 1]
        assert len(bundle.networks[network]) == 2
        assert entry["outputs"] == OUTPUTS[network]
    assert bundle.belief("sagittal_points", 0.3) == pytest.approx(0.3)
    assert dict(bundle.card) == card
    assert "non-commercial" in card["licence"].lower()


def test_a_bundle_knows_what_it_learnt_from_and_nothing_else(assembled) -> None:
    """The studies that were given, by hash."""
    out, card = assembled
    studies = read_studies(out, card)
    assert studies == training_studies(["77", "1002894806"])
    assert card["training_studies"]["count"] == 2
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
def unseen() -> Unseen:
    """What members could have said of studies that they had not seen."""
    rng = np.random.default_rng(0)
    axial = (Condition.SPINAL_CANAL_STENOSIS, Condition.SUBARTICULAR_STENOSIS)
    return Unseen(
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
        assert bundle.temperatures[condition] > 1.2
        assert 1 / 3 < bundle.abstain_below[condition] < 1
        figures = done["figures"][condition.value]
        assert set(figures["levels"]) == {level.value for level in Level}
        assert sum(figures["counts"]) == figures["n"]
        assert sum(map(sum, figures["confusion"])) == figures["n"]
        assert figures["coverage_accuracy"][-1][0] == 1
        value, low, high = figures["weighted_log_loss"]
        assert low <= value <= high
    assert {"levels_t1", "levels_t2", "axial_points"} <= set(done["figures"])
    assert all(tuple(b) != NEUTRAL_BELIEF for b in bundle.beliefs.values())
    assert (out / "README.md").read_text().strip()


def test_calibration_is_another_device(assembled, unseen) -> None:
    """The Device UID of what was measured is not that of what was assembled; figures alone do not
    change it."""
    out, card = assembled
    done = finish(out, card, unseen)
    assert done["device_uid"] != card["device_uid"]
    assert finish(out, card, unseen)["device_uid"] == done["device_uid"]
    fewer = replace(unseen, t2=None)
    assert finish(out, card, fewer)["device_uid"] == done["device_uid"]


def test_without_predictions_a_bundle_stays_neutral(assembled) -> None:
    """Nothing unseen, nothing calibrated, and the bundle still loads."""
    out, card = assembled
    done = finish(out, card, Unseen(None, None, None, None, None))
    assert done["temperatures"] == card["temperatures"]
    assert done["device_uid"] == card["device_uid"]
    assert load_bundle(out, "cpu").identity.device_uid == card["device_uid"]


def test_the_axial_detector_is_measured_on_moved_windows(untrained, painted) -> None:
    """One heat and one error for each point that is there, the same ones every time."""
    found = detect_axial(untrained, painted.axial_points)
    assert found.heats.shape == found.errors.shape == (3 * len(painted.axial_points),)
    assert ((found.heats >= 0) & (found.heats <= 1)).all()
    assert (found.errors > 0.04).any()
    again = detect_axial(untrained, painted.axial_points)
    np.testing.assert_array_equal(found.errors, again.errors)


def test_a_calibrated_posterior_is_what_the_worker_says() -> None:
    """Posteriors at 1, warmed afterwards, are those of the logits at that temperature."""
    import torch

    from worker.training.calibration import at_temperature

    logits = torch.tensor([[0.3, 1.4, -2.0], [2.0, 0.1, 1.1]])
    target = Target(Condition.SPINAL_CANAL_STENOSIS, Level.L1_L2)
    rows = [GradePrediction("1", "1.png", target, p, None) for p in posteriors(logits, 1.0)]
    for row, direct in zip(at_temperature(rows, 1.6), posteriors(logits, 1.6), strict=True):
        for severity in Severity:
            assert row.posterior.of(severity) == pytest.approx(direct.of(severity), abs=1e-6)
