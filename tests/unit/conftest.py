"""Fixtures that need no service."""

import hashlib
from pathlib import Path

import pytest
import torch

from dicom_sr.findings import Condition
from worker.models.card import CARD, DETECTORS, to_toml
from worker.models.loading import Bundle, load_bundle
from worker.models.networks import ARCHITECTURES
from worker.models.studies import training_studies, write_studies
from worker.training.members import OUTPUTS, save_network
from worker.training.recipe import read_recipes


@pytest.fixture(scope="session")
def untrained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of untrained networks: right in form, worthless in content."""
    folder = tmp_path_factory.mktemp("bundle")
    torch.manual_seed(0)
    networks = {}
    for name, recipe in read_recipes().items():
        members = []
        for fold in recipe.held_out:
            file = folder / f"{name}-{fold}.safetensors"
            save_network(ARCHITECTURES[recipe.architecture](OUTPUTS[name]), file)
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            members.append({"file": file.name, "sha256": digest, "held_out": fold})
        networks[name] = {
            "architecture": recipe.architecture,
            "outputs": OUTPUTS[name],
            "folds": recipe.folds,
            "members": members,
        }
    card = {
        "name": "untrained",
        "version": "0",
        "device_uid": "2.25.1",
        "networks": networks,
        "beliefs": {name: [1.0, 0.0] for name in DETECTORS},
        "temperatures": {condition.value: 1.0 for condition in Condition},
        "abstain_below": {condition.value: 0.0 for condition in Condition},
        "training_studies": write_studies(training_studies(["learnt"]), folder),
    }
    (folder / CARD).write_text(to_toml(card), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def untrained(untrained_folder: Path) -> Bundle:
    """The same, loaded on the CPU."""
    return load_bundle(untrained_folder, "cpu")
