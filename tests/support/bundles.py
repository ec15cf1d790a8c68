"""Bundles for tests: right in form, and cards for approaches without networks."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dicom_sr.findings import CURRENT_TARGET_SET, Condition
from worker.approaches import TwoStage
from worker.models.bundle import resolved
from worker.models.card import (
    DEFAULT,
    ApproachEntry,
    CalibrationEntry,
    Card,
    DecisionEntry,
    Member,
    NetworkEntry,
    read_card,
    write_card,
)
from worker.models.networks import ARCHITECTURES, build_network
from worker.models.seam import Approach, NetworkSpec
from worker.models.studies import training_studies, write_studies
from worker.training.bundling import network_entry
from worker.training.members import save_network
from worker.training.recipe import Recipe, read_recipes

NETWORKS = tuple(TwoStage.of("heatmaps", "crops").networks)
"""The networks of the approach in two stages."""


def untrained_card(folder: Path, approach: Approach, recipes: Mapping[str, Recipe]) -> Card:
    """Write networks with random weights into a folder; returns the card that names them."""
    networks = {}
    for name, spec in approach.networks.items():
        recipe = recipes[name]
        files = [folder / f"{name}-{fold}.safetensors" for fold in recipe.held_out]
        for file in files:
            save_network(build_network(recipe.architecture, len(spec.heads), recipe.kwargs), file)
        networks[name] = network_entry(recipe, spec, files)
    return card_of(folder, ApproachEntry(**resolved(approach)), networks)


def packaged_or_random(folder: Path, specs: Mapping[str, NetworkSpec]) -> dict[str, NetworkEntry]:
    """Entries for these networks: the packaged member of one that ships, else random weights."""
    packaged = read_card().networks
    entries = {}
    for name, spec in specs.items():
        if name in packaged and packaged[name].heads == spec.heads:
            entry = packaged[name]
            (folder / entry.members[0].file).symlink_to(DEFAULT / entry.members[0].file)
            entries[name] = entry.model_copy(update={"members": entry.members[:1]})
            continue
        architecture = next(key for key, one in ARCHITECTURES.items() if one.kind is spec.kind)
        file = folder / f"{name}-0.safetensors"
        save_network(build_network(architecture, len(spec.heads), {}), file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        entries[name] = NetworkEntry(
            architecture=architecture,
            heads=spec.heads,
            folds=2,
            members=(Member(file=file.name, sha256=digest, held_out=0),),
        )
    return entries


def card_of(
    folder: Path, approach: ApproachEntry, networks: Mapping[str, NetworkEntry], **changes: Any
) -> Card:
    """A card that calibrates nothing."""
    return Card(
        **{
            "name": "untrained",
            "version": "0",
            "target_set": CURRENT_TARGET_SET,
            "approach": approach,
            "networks": dict(networks),
            "calibration": {condition: CalibrationEntry() for condition in Condition},
            "decision": {condition: DecisionEntry() for condition in Condition},
            "training_studies": write_studies(training_studies(["learnt"]), folder),
        }
        | changes
    )


def write_untrained(folder: Path) -> Path:
    """A whole bundle of untrained networks."""
    torch.manual_seed(0)
    approach, recipes = read_recipes()
    write_card(untrained_card(folder, approach, recipes), folder)
    return folder


def small_bundle(folder: Path) -> Path:
    """The packaged bundle with one member of each network: trained, and three times as fast."""
    folder.mkdir(parents=True)
    card = read_card()
    networks = {
        name: entry.model_copy(update={"members": entry.members[:1]})
        for name, entry in card.networks.items()
    }
    files = [entry.members[0].file for entry in networks.values()]
    for file in (*files, card.training_studies.file):
        (folder / file).symlink_to(DEFAULT / file)
    write_card(card.model_copy(update={"name": "small", "networks": networks}), folder)
    return folder


def recalibrated_bundle(folder: Path) -> Path:
    """The packaged bundle with other temperatures, and so another identity."""
    shutil.copytree(DEFAULT, folder)
    card = read_card(folder)
    calibration = {
        condition: CalibrationEntry(temperature=1.01 * entry.temperature)
        for condition, entry in card.calibration.items()
    }
    changed = card.model_copy(update={"version": "new", "calibration": calibration})
    write_card(changed, folder)
    return folder
