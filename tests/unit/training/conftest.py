"""Two painted phantoms for all, and recipes that fit in seconds."""

from pathlib import Path

import pytest

from worker.phantom.lesions import TRAINING
from worker.training.data import TrainingData
from worker.training.recipe import Recipe
from worker.training.synthetic import PhantomSamples, join_samples, phantom_samples

SEEDS = (3, 4)
"""One for each of two folds, and each shows every severity of every target."""


@pytest.fixture(scope="session")
def painted() -> PhantomSamples:
    """What two phantoms give."""
    return join_samples(phantom_samples(seed, TRAINING) for seed in SEEDS)


@pytest.fixture
def phantoms_alone(painted, tmp_path: Path) -> TrainingData:
    """Training data without a folder: the painted phantoms, kept as if they were painted here."""
    cache = tmp_path / "cache"
    cache.mkdir()
    painted.save(cache / f"phantoms-{SEEDS[0]}-{len(SEEDS)}.npz")
    return TrainingData(None, cache)


@pytest.fixture(scope="session")
def recipe():
    """Make a recipe of one tiny epoch on the painted phantoms, from nothing, unaugmented."""

    def make(network: str, **changes) -> Recipe:
        values = {
            "network": network,
            "architecture": {
                "foraminal_grades": "grades_lite0_neighbours",
                "axial_grades": "grades_lite0",
            }.get(network, "heatmaps_lite0"),
            "start": "nothing",
            "folds": 2,
            "held_out": [0],
            "epochs": 1,
            "samples": 4,
            "batch": 4,
            "rate": 3e-3,
            "decay": 0.8,
            "dropout": 0.0,
            "first_phantom": SEEDS[0],
            "phantoms": len(SEEDS),
        }
        return Recipe(**values | changes)

    return make
