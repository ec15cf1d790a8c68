"""A recipe is checked before anything is read or fitted, and says what is wrong with it."""

import re
from pathlib import Path

import pytest

from tests.support.training import SPECS
from worker.errors import BadSettings
from worker.models.seam import IMAGENET, SCRATCH
from worker.training.recipe import (
    RECIPES,
    check_recipe,
    read_recipe,
    read_recipes,
    training_order,
)


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
    approach, recipes = read_recipes()
    assert approach.name == "two_stage"
    assert set(recipes) == set(approach.networks)
    order = list(recipes)
    for place, recipe in enumerate(recipes.values()):
        start = recipe.start_of(approach.networks[recipe.network])
        assert start in {"imagenet", "scratch", *order[:place]}


def test_a_network_is_trained_after_the_one_that_it_starts_from() -> None:
    """Whatever the order in which they are named."""
    order = training_order({"axial": "foraminal", "points": IMAGENET, "foraminal": SCRATCH})
    assert sorted(order) == ["axial", "foraminal", "points"]
    assert order.index("foraminal") < order.index("axial")


def test_networks_that_start_from_each_other_are_refused() -> None:
    """Neither can be trained first."""
    with pytest.raises(BadSettings, match="start from each other: one, other"):
        training_order({"one": "other", "other": "one"})


def test_the_axial_grader_starts_from_members_that_the_same_studies_were_kept_from() -> None:
    """Another rule of folds would let the start have seen what the member must not."""
    _, recipes = read_recipes()
    assert recipes["axial_grades"].start_of(SPECS["axial_grades"]) == "foraminal_grades"
    assert recipes["axial_grades"].folds == recipes["foraminal_grades"].folds
    assert set(recipes["axial_grades"].held_out) <= set(recipes["foraminal_grades"].held_out)


FORAMINAL, SAGITTAL = "foraminal_grades", "sagittal_points"


@pytest.mark.parametrize(
    ("network", "key", "line", "told"),
    [
        (FORAMINAL, "epochs", "epoch = 6", "epochs: Field required"),
        (FORAMINAL, "epochs", "epochs = 6\nepoch = 6", "unknown option 'epoch': known are epochs"),
        (FORAMINAL, "gamma", "gama = 1.5", "intensity: unknown option 'gama': known are gamma"),
        (FORAMINAL, "epochs", "epochs = 0", "epochs: 0 is out of range: at least 1"),
        (FORAMINAL, "epochs", "epochs = ", "Invalid value"),
        (FORAMINAL, "rate", "rate = 'fast'", "rate: .*valid number"),
        (FORAMINAL, "decay", "decay = 1.0", "decay: 1.0 is out of range: more than 0.*less than 1"),
        (FORAMINAL, "held_out", "held_out = [0, 3]", "held_out names fold 3 of 3"),
        (FORAMINAL, "held_out", "held_out = [-1]", "held_out names fold -1 of 3"),
        (FORAMINAL, "held_out", "held_out = []", "held_out: "),
        (FORAMINAL, "folds", "folds = 1", "folds: "),
        (
            FORAMINAL,
            "architecture",
            "architecture = 'huge'",
            "unknown architecture 'huge'.*crop_classifier",
        ),
        (FORAMINAL, "architecture", "architecture = 'heatmap_pyramid'", "unknown option 'slices'"),
        (FORAMINAL, "start", 'start = "luck"', "unknown start 'luck'.*imagenet"),
        (FORAMINAL, "kwargs", "kwargs = { backbon = 'x' }", "unknown option 'backbon'.*backbone"),
        (FORAMINAL, "kwargs", "kwargs = { backbone = 'resnet' }", "unknown backbone 'resnet'"),
        (FORAMINAL, "kwargs", "kwargs = { slices = 2 }", "kwargs.slices is 2; its samples have 3"),
        (
            SAGITTAL,
            "kwargs",
            "kwargs = { backbone = 'resnet18' }",
            "no ImageNet weights for resnet18",
        ),
        (
            SAGITTAL,
            "architecture",
            "architecture = 'crop_classifier'",
            "puts out grades, it needs points",
        ),
        (SAGITTAL, "batch", "batch = 16\nmixup = 0.4", "mixup is for graders"),
        (SAGITTAL, "start", 'start = "sagittal_points"', "unknown start"),
    ],
)
def test_a_wrong_recipe_names_file_and_key(tmp_path: Path, network, key, line, told) -> None:
    """Each fault is one error that a user can act on."""
    path = edited(tmp_path, network, key, line)
    with pytest.raises(BadSettings, match=told) as raised:
        check_recipe(read_recipe(path), SPECS)
    assert str(path) in str(raised.value) or network in str(raised.value)


def test_a_recipe_of_an_unknown_network_lists_the_nearest_first(tmp_path: Path) -> None:
    """So is a network that no registered strategy runs."""
    path = edited(tmp_path, "axial_points", "network", 'network = "axial_point"')
    with pytest.raises(BadSettings, match="'axial_point': known are axial_points, "):
        check_recipe(read_recipe(path), SPECS)


def test_an_encoder_is_taken_over_only_by_the_same_backbone(tmp_path: Path) -> None:
    """Where both recipes are known, nothing is trained before that is said."""
    line = "kwargs = { backbone = 'resnet18', slices = 1 }"
    edited(tmp_path, "axial_grades", "kwargs", line)
    with pytest.raises(BadSettings, match="its backbone is resnet18, that of foraminal_grades"):
        read_recipes(tmp_path)


def test_an_approach_file_names_approach_and_options(tmp_path: Path) -> None:
    """The approach beside the recipes is the one that is trained, with its options."""
    (tmp_path / "approach.toml").write_text(
        '[approach]\nname = "two_stage"\n[approach.options.localiser]\nname = "heatmaps"\n'
        "[approach.options.localiser.options]\npasses = 3\n"
    )
    approach, _ = read_recipes(tmp_path)
    assert approach.options.localiser.options.passes == 3
    (tmp_path / "approach.toml").write_text('[approach]\nname = "two_stages"\n')
    with pytest.raises(BadSettings, match="unknown approach 'two_stages': known are two_stage"):
        read_recipes(tmp_path)


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Neither a missing file nor a folder in its place is an unexpected error."""
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(BadSettings, match=f"{path} cannot be read"):
            read_recipe(path)


def test_own_recipes_replace_packaged_ones(tmp_path: Path) -> None:
    """A folder may hold one of four: the others are the packaged ones."""
    edited(tmp_path, "axial_points", "epochs", "epochs = 3")
    (_, recipes), (_, packaged) = read_recipes(tmp_path), read_recipes()
    assert recipes["axial_points"].epochs == 3
    assert recipes | {"axial_points": packaged["axial_points"]} == packaged


def test_a_recipe_under_another_name_is_refused(tmp_path: Path) -> None:
    """A file called after one network that trains another is a mistake, never a choice."""
    path = edited(tmp_path, "axial_points", "network", 'network = "sagittal_points"')
    with pytest.raises(BadSettings, match=f"{path} is the recipe of sagittal_points, not of axial"):
        read_recipes(tmp_path)
