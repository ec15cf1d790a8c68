"""Two rendered phantoms for all, and recipes that train in seconds."""

from pathlib import Path

import pytest

from worker.phantom.lesions import TRAINING
from worker.training.data import TrainingData
from worker.training.recipe import Recipe
from worker.training.synthetic import (
    PhantomSamples,
    join_samples,
    phantom_samples,
    save_samples,
)

SEEDS = (3, 4)
"""One for each of two folds, and each shows every severity of every target."""


@pytest.fixture(scope="session")
def rendered() -> PhantomSamples:
    """What two phantoms give."""
    return join_samples(phantom_samples(seed, TRAINING) for seed in SEEDS)


@pytest.fixture
def phantoms_alone(rendered, tmp_path: Path) -> TrainingData:
    """Training data without a folder: the rendered phantoms, kept as if they were rendered here."""
    data = TrainingData(None, tmp_path / "cache")
    data.cache.mkdir()
    save_samples(rendered, data.phantom_file(SEEDS[0], len(SEEDS)))
    return data


@pytest.fixture(scope="session")
def recipe():
    """Make a recipe of one tiny epoch on the rendered phantoms, from scratch, unaugmented."""

    def make(network: str, **changes) -> Recipe:
        graded = network.endswith("grades")
        slices = 3 if network == "foraminal_grades" else 1
        values = {
            "network": network,
            "architecture": "crop_classifier" if graded else "heatmap_pyramid",
            "kwargs": {"slices": slices, "dropout": 0.0} if graded else {},
            "start": "scratch",
            "folds": 2,
            "held_out": [0],
            "epochs": 1,
            "samples": 4,
            "batch": 4,
            "rate": 3e-3,
            "decay": 0.8,
            "first_phantom": SEEDS[0],
            "phantoms": len(SEEDS),
        }
        return Recipe(**values | changes)

    return make
