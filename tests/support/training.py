"""What the tests of training share: network specifications, and modules of recipes."""

from __future__ import annotations

from worker.training.modules import GradeModule, PointModule, module_of
from worker.training.real import AXIAL_GRADE_HEADS
from worker.training.recipe import Recipe, known_networks

SPECS = known_networks()

SAMPLE_HEADS = {name: spec.heads for name, spec in SPECS.items()} | {
    "axial_grades": AXIAL_GRADE_HEADS
}
"""The labels of each network's samples."""


def module_for(recipe: Recipe) -> PointModule | GradeModule:
    """What trains a recipe's network."""
    return module_of(recipe, SPECS[recipe.network], SAMPLE_HEADS[recipe.network])
