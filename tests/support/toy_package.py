"""Installs the toy strategies as a package of one file, and writes bundles that use them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.support import toy_strategies
from tests.support.bundles import card_of
from worker.models.card import DEFAULT, ApproachEntry, read_card, write_card

ENTRY_POINTS = """\
[orthanc_lumbar.approaches]
toy = toy_strategies:ToyApproach

[orthanc_lumbar.localisers]
toy_points = toy_strategies:ToyLocaliser

[orthanc_lumbar.graders]
toy_grades = toy_strategies:ToyGrader
"""

TOY = ApproachEntry(name="toy", version=3, options={"severe": 0.7})
COMBINATIONS = {
    "approach": TOY,
    "localiser": ApproachEntry(
        name="two_stage", version=1, options={"localiser": {"name": "toy_points"}}
    ),
    "grader": ApproachEntry(
        name="two_stage",
        version=1,
        options={"grader": {"name": "toy_grades", "options": {"severe": 0.7}}},
    ),
}
"""A card's approach for each kind of toy."""

NETWORKS = {
    "approach": (),
    "localiser": ("foraminal_grades", "axial_grades"),
    "grader": ("sagittal_points", "axial_points"),
}
"""The packaged networks that each of these needs."""


def install(folder: Path) -> dict[str, str]:
    """Install the file into a folder; returns the environment in which Python finds it."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(str(toy_strategies.__file__), folder)
    information = folder / "toy-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}


def write_bundle(kind: str, folder: Path) -> Path:
    """A bundle of a toy approach, localiser or grader; other networks are the packaged ones."""
    folder.mkdir(parents=True)
    packaged = read_card()
    networks = {name: packaged.networks[name] for name in NETWORKS[kind]}
    for entry in networks.values():
        for member in entry.members:
            (folder / member.file).symlink_to(DEFAULT / member.file)
    write_card(card_of(folder, COMBINATIONS[kind], networks, name=f"toy {kind}"), folder)
    return folder
