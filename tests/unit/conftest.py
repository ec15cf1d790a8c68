"""Fixtures that need no service."""

import hashlib
from pathlib import Path

import pytest
import torch

from dicom_sr.findings import Condition
from worker.bundles.loading import CARD, DETECTORS, NETWORKS, Bundle, load_bundle
from worker.bundles.networks import ARCHITECTURES
from worker.training.bundling import to_toml
from worker.training.recipe import read_recipe, save_network


@pytest.fixture(scope="session")
def untrained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of untrained networks: right in form, worthless in content."""
    folder = tmp_path_factory.mktemp("bundle")
    recipe = read_recipe()
    torch.manual_seed(0)
    networks = {}
    for name in NETWORKS:
        settings = recipe[name]
        file = folder / f"{name}.safetensors"
        save_network(ARCHITECTURES[settings["architecture"]](settings["outputs"]), file)
        networks[name] = {
            "file": file.name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "architecture": settings["architecture"],
            "outputs": settings["outputs"],
        }
    card = {
        "name": "untrained",
        "version": "0",
        "device_uid": "2.25.1",
        "networks": networks,
        "beliefs": {name: [1.0, 0.0] for name in DETECTORS},
        "temperatures": {condition.value: 1.0 for condition in Condition},
    }
    (folder / CARD).write_text(to_toml(card), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def untrained(untrained_folder: Path) -> Bundle:
    """The same, loaded on the CPU."""
    return load_bundle(untrained_folder, "cpu")
