"""A recipe is checked before anything is read or fitted, and says what is wrong with it."""

import re
from pathlib import Path

import pytest

from worker.errors import BadSettings
from worker.models.card import NETWORKS
from worker.training.recipe import ORDER, RECIPES, read_recipe, read_recipes


def edited(folder: Path, network: str, key: str, line: str) -> Path:
    """A packaged recipe with the line of one key changed."""
    text = (RECIPES / f"{network}.toml").read_text(encoding="utf-8")
    text, changed = re.subn(rf"(?m)^{key} = .*$", line, text)
    assert changed == 1
    path = folder / f"{network}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_packaged_recipes_train_a_whole_bundle() -> None:
    """There is one for each network, in an order in which each finds what it starts from."""
    recipes = read_recipes()
    assert tuple(recipes) == ORDER
    assert set(recipes) == set(NETWORKS)
    for place, recipe in enumerate(recipes.values()):
        assert recipe.start in {"imagenet", "nothing", *ORDER[:place]}


def test_the_axial_grader_starts_from_members_that_the_same_studies_were_kept_from() -> None:
    """Another rule of folds would let the start have seen what the member must not."""
    recipes = read_recipes()
    assert recipes["axial_grades"].start == "foraminal_grades"
    assert recipes["axial_grades"].folds == recipes["foraminal_grades"].folds
    assert set(recipes["axial_grades"].held_out) <= set(recipes["foraminal_grades"].held_out)


FORAMINAL, SAGITTAL = "foraminal_grades", "sagittal_points"


@pytest.mark.parametrize(
    ("network", "key", "line", "told"),
    [
        (FORAMINAL, "epochs", "epoch = 6", "epochs: Field required"),
        (FORAMINAL, "epochs", "epochs = 6\nepoch = 6", "epoch: Extra inputs"),
        (FORAMINAL, "gamma", "gama = 1.5", r"intensity\.gama: Extra inputs"),
        (FORAMINAL, "epochs", "epochs = 0", "epochs: .*greater than or equal to 1"),
        (FORAMINAL, "epochs", "epochs = ", "Invalid value"),
        (FORAMINAL, "rate", "rate = 'fast'", "rate: .*valid number"),
        (FORAMINAL, "decay", "decay = 1.0", "decay: .*less than 1"),
        (FORAMINAL, "held_out", "held_out = [0, 3]", "held_out names fold 3 of 3"),
        (FORAMINAL, "held_out", "held_out = [-1]", "held_out names fold -1 of 3"),
        (FORAMINAL, "held_out", "held_out = []", "held_out: "),
        (FORAMINAL, "folds", "folds = 1", "folds: "),
        (FORAMINAL, "architecture", "architecture = 'huge'", "architecture .*grades_lite0"),
        (FORAMINAL, "architecture", "architecture = 'heatmaps_lite0'", "architecture .*grades"),
        (FORAMINAL, "start", 'start = "luck"', "start: "),
        (SAGITTAL, "architecture", "architecture = 'grades_lite0'", "architecture .*heatmaps"),
        (SAGITTAL, "batch", "batch = 16\nmixup = 0.4", "mixup is for graders"),
        (SAGITTAL, "start", 'start = "foraminal_grades"', "only axial_grades"),
    ],
)
def test_a_wrong_recipe_names_file_and_key(tmp_path: Path, network, key, line, told) -> None:
    """Each fault is one error that a user can act on."""
    path = edited(tmp_path, network, key, line)
    with pytest.raises(BadSettings, match=told) as raised:
        read_recipe(path)
    assert str(path) in str(raised.value)


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Neither a missing file nor a folder in its place is an unexpected error."""
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(BadSettings, match=f"{path} cannot be read"):
            read_recipe(path)


def test_own_recipes_replace_packaged_ones(tmp_path: Path) -> None:
    """A folder may hold one of four: the others are the packaged ones."""
    edited(tmp_path, "axial_points", "epochs", "epochs = 3")
    recipes, packaged = read_recipes(tmp_path), read_recipes()
    assert recipes["axial_points"].epochs == 3
    assert recipes | {"axial_points": packaged["axial_points"]} == packaged


def test_a_recipe_under_another_name_is_refused(tmp_path: Path) -> None:
    """A file called after one network that trains another is a mistake, never a choice."""
    path = edited(tmp_path, "axial_points", "network", 'network = "sagittal_points"')
    with pytest.raises(BadSettings, match=f"{path} is the recipe of sagittal_points, not of axial"):
        read_recipes(tmp_path)
