"""A broken run goes on where it was, and nothing that it logged is lost."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.training import SPECS, module_for
from worker.training import members
from worker.training.fitting import Run, fit
from worker.training.members import RunConfig, train

pytestmark = pytest.mark.slow


EPOCHS = 3


def run_in(folder: Path) -> Run:
    """Three epochs of two batches."""
    return Run(folder, EPOCHS, 8, batch=4, device="cpu", progress=False)


def logged(folder: Path) -> list[tuple[int, float]]:
    """(epoch, validation loss) in the order in which they were logged."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            (int(row["epoch"]), float(row["val_loss"]))
            for row in csv.DictReader(file)
            if row.get("val_loss")
        ]


@pytest.fixture
def module(recipe):
    """Make a grader that may lose its power when an epoch begins."""

    def make(breaks_at: int | None = None):
        torch.manual_seed(0)
        made = module_for(recipe("foraminal_grades"))
        made.begun = []

        def begin() -> None:
            if made.current_epoch == breaks_at:
                raise PowerCut
            made.begun.append(made.current_epoch)

        made.on_train_epoch_start = begin
        return made

    return make


class PowerCut(Exception):
    """What ends a run in its middle."""


@pytest.fixture
def broken(rendered, module, tmp_path: Path) -> Path:
    """The folder of a run that was cut off after its first epoch."""
    folder, some = tmp_path / "run", rendered["foraminal_grades"]
    with pytest.raises(PowerCut):
        fit(module(breaks_at=1), some, some, run_in(folder))
    return folder


def test_a_broken_run_goes_on_from_its_last_epoch(rendered, module, broken: Path) -> None:
    """Only what was missing is run, and the log holds every epoch once."""
    (first,) = logged(broken)
    again, some = module(), rendered["foraminal_grades"]
    fit(again, some, some, run_in(broken))
    assert again.begun == [1, 2]
    assert again.trainer.current_epoch == EPOCHS
    assert again.trainer.global_step == 2 * EPOCHS
    log = logged(broken)
    assert [epoch for epoch, _ in log] == [0, 1, 2]
    assert log[0] == first


def test_a_run_that_ended_before_it_was_kept_is_not_run_again(rendered, module, broken) -> None:
    """Resumed at its very end, the same network comes out and the log stays."""
    some = rendered["foraminal_grades"]
    before = fit(module(), some, some, run_in(broken)).state_dict()
    log = logged(broken)
    again = module()
    after = fit(again, some, some, run_in(broken)).state_dict()
    assert again.begun == []
    assert logged(broken) == log
    for name, value in before.items():
        torch.testing.assert_close(after[name], value)


def test_a_run_may_be_moved_and_broken_again(rendered, module, broken, tmp_path) -> None:
    """In another folder, too, there is one checkpoint, and it is the last one."""
    moved, some = Path(shutil.copytree(broken, tmp_path / "moved")), rendered["foraminal_grades"]
    with pytest.raises(PowerCut):
        fit(module(breaks_at=2), some, some, run_in(moved))
    assert [path.name for path in moved.glob("*.ckpt")] == ["last.ckpt"]
    last = module()
    fit(last, some, some, run_in(moved))
    assert last.begun == [2]
    assert [epoch for epoch, _ in logged(moved)] == [0, 1, 2]


def test_the_curves_are_a_picture(rendered, module, tmp_path: Path) -> None:
    """A PNG that opens, is wide enough to read, and is not blank."""
    some = rendered["foraminal_grades"]
    fit(module(), some, some, run_in(tmp_path))
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) >= 300
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_train_resumes_a_member_and_then_leaves_it_alone(
    phantoms_alone, recipe, tmp_path, monkeypatch
) -> None:
    """Through `train` itself: broken after one epoch, finished by the next call, then kept."""
    tiny, config = recipe("foraminal_grades", epochs=2), RunConfig(tmp_path, "cpu", 1, False)
    begun, power = [], [1, None, None]
    make = members.module_of

    def watched(*arguments):
        module = make(*arguments)
        cut = power.pop(0)

        def begin() -> None:
            if module.current_epoch == cut:
                raise PowerCut
            begun.append(module.current_epoch)

        module.on_train_epoch_start = begin
        return module

    monkeypatch.setattr(members, "module_of", watched)
    with pytest.raises(PowerCut):
        train(tiny, SPECS, phantoms_alone, config)
    assert not config.weights("foraminal_grades", 0).exists()
    (file,), studies = train(tiny, SPECS, phantoms_alone, config)
    assert begun == [0, 1]
    assert studies == frozenset()
    before = file.stat().st_mtime_ns
    assert train(tiny, SPECS, phantoms_alone, config)[0] == [file]
    assert begun == [0, 1]
    assert file.stat().st_mtime_ns == before
