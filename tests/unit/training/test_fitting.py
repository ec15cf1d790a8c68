"""A tiny training on phantoms, of a detector and of a grader."""

import csv
from pathlib import Path

import pytest
import torch

from tests.support.training import module_for
from worker.training.augment import Geometry, batch_of
from worker.training.fitting import Run, fit
from worker.training.modules import GradeModule, PointModule
from worker.training.recipe import Recipe
from worker.training.samples import GradeSet, PointSet

pytestmark = pytest.mark.slow


DRAWN = 60
"""Samples of an epoch."""


def losses(folder: Path) -> list[float]:
    """The validation loss after each epoch."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row["val_loss"]) for row in csv.DictReader(file) if row.get("val_loss")]


def improves(recipe: Recipe, samples: PointSet | GradeSet, folder: Path, epochs: int) -> bool:
    """Whether the loss of the plain crops, by the averaged network, falls by a fifth."""
    torch.manual_seed(0)
    run = Run(folder, epochs, DRAWN, batch=10, device="cpu", progress=False)
    fit(module_for(recipe), samples, samples, run)
    found = losses(folder)
    assert len(found) == epochs
    return found[-1] < found[0] * 0.8


@pytest.mark.slow
def test_a_detector_learns(rendered, recipe, tmp_path: Path) -> None:
    """The heatmap loss falls within a minute."""
    moved = Geometry(shift_px=(8, 8), mirror=True)
    tiny = recipe("axial_points", geometry=moved)
    assert improves(tiny, rendered["axial_points"], tmp_path, epochs=5)


@pytest.mark.slow
@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_a_grader_learns(rendered, recipe, tmp_path: Path, mixup: float) -> None:
    """The grading loss falls within a minute, of whole crops and of mixed ones."""
    moved = Geometry(shift_px=(2, 2))
    tiny = recipe("foraminal_grades", geometry=moved, mixup=mixup, decay=0.5)
    assert improves(tiny, rendered["foraminal_grades"], tmp_path, epochs=8)


def test_mixup_feeds_mixed_crops_and_both_labels(rendered, recipe, monkeypatch) -> None:
    """What reaches the network lies between two standardised crops, and both are asked for."""
    from worker.training import modules

    module = module_for(recipe("foraminal_grades", mixup=0.4, intensity=QUIET))
    assert isinstance(module, GradeModule)
    seen = {}

    def loss(_logits, labels, others, share):
        seen.update(labels=labels, others=others, share=share)
        return torch.zeros(())

    def classify(crops):
        seen["crops"] = crops
        return torch.zeros(len(crops), 1, 3)

    monkeypatch.setattr(modules, "mixed_loss", loss)
    monkeypatch.setattr(module.network, "classify", classify)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    some = rendered["foraminal_grades"]
    images, labels = (torch.from_numpy(a[:8]) for a in (some.images, some.labels))
    torch.manual_seed(3)
    module.training_step((images, labels))
    crops, *_ = module.plain(batch_of(images))
    plain = modules.standardise(crops.as_subclass(torch.Tensor))
    torch.testing.assert_close(seen["labels"], labels)
    assert sorted(seen["others"].flatten().tolist()) == sorted(labels.flatten().tolist())
    assert 0 < seen["share"] < 1
    rest = (seen["crops"] - seen["share"] * plain) / (1 - seen["share"])
    partners = [int((plain - one).abs().amax((1, 2, 3)).argmin()) for one in rest]
    assert sorted(partners) == list(range(8))
    torch.testing.assert_close(plain[partners], rest, atol=1e-2, rtol=0)
    torch.testing.assert_close(labels[partners], seen["others"])


QUIET = {"gamma": 1.0, "shading": 0.0, "softness": 0.0, "noise": 0.0}


def test_what_ships_is_the_average(rendered, recipe, tmp_path: Path) -> None:
    """After a run the averaged weights lie between their start and the network's own."""
    tiny = recipe("foraminal_grades", decay=0.9)
    module, some = module_for(tiny), rendered["foraminal_grades"]
    before = module.network.head.weight.detach().clone()
    network = fit(module, some, some, Run(tmp_path, 1, 16, 4, device="cpu", progress=False))
    assert network is module.average.module
    after, average = module.network.head.weight, network.head.weight
    assert 0 < (average - before).norm() < (after - before).norm()


def test_early_stopping_ends_a_run(rendered, recipe, tmp_path: Path) -> None:
    """Without a better loss for `patience` epochs, the rest is not run."""
    module, some = module_for(recipe("foraminal_grades")), rendered["foraminal_grades"]
    # An average that never moves validates alike after every epoch.
    module.on_train_batch_end = lambda *_: None
    run = Run(tmp_path, 12, 4, batch=4, device="cpu", patience=2, progress=False)
    fit(module, some, some, run)
    assert len(losses(tmp_path)) == 3
    assert module.trainer.current_epoch == 3


@pytest.mark.slow
def test_two_devices_share_a_run(rendered, recipe, tmp_path: Path) -> None:
    """Two processes fit one network, and its average comes back to the caller."""
    module, some = module_for(recipe("foraminal_grades")), rendered["foraminal_grades"]
    before = module.average.module.head.weight.detach().clone()
    run = Run(tmp_path, 1, 16, batch=4, device="cpu", devices=2, progress=False)
    network = fit(module, some, some, run)
    assert not torch.equal(network.head.weight, before)
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    assert len(losses(tmp_path)) == 1
    assert (tmp_path / "last.ckpt").is_file()


def test_an_epoch_of_less_than_a_batch_has_one(rendered, recipe, tmp_path: Path) -> None:
    """A few samples are few, not none."""
    module, some = module_for(recipe("foraminal_grades")), rendered["foraminal_grades"]
    fit(module, some, some, Run(tmp_path, 1, 3, batch=64, device="cpu", progress=False))
    assert module.trainer.global_step == 1


@pytest.mark.parametrize("empty", ["training", "validation"])
def test_an_empty_fold_is_refused_before_training(rendered, recipe, tmp_path, empty) -> None:
    """A fold without samples is a clear error, not a crash in the middle."""
    some = rendered["axial_grades"]
    sets = {"training": some, "validation": some, empty: some.where(lambda _: False)}
    module = module_for(recipe("axial_grades"))
    run = Run(tmp_path, 1, 4, batch=4, device="cpu", progress=False)
    with pytest.raises(ValueError, match="without samples"):
        fit(module, sets["training"], sets["validation"], run)


def test_a_detector_validates_by_its_average(rendered, recipe, tmp_path: Path) -> None:
    """Loss, error and share of near points are logged after an epoch."""
    module, some = module_for(recipe("axial_points")), rendered["axial_points"]
    assert isinstance(module, PointModule)
    fit(module, some, some, Run(tmp_path, 1, 4, batch=4, device="cpu", progress=False))
    header = (tmp_path / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train_loss", "val_loss", "val_error_px", "val_within_4_percent"} <= set(header)
