"""A tiny training on phantoms, of a detector and of a grader."""

from pathlib import Path

import pytest
import torch

from worker.phantom.lesions import TRAINING
from worker.training.augment import Geometry, Intensity
from worker.training.fitting import Run, fit
from worker.training.modules import GradeModule, PointModule
from worker.training.samples import GradeSet, PointSet
from worker.training.synthetic import PhantomSamples, join_samples, phantom_samples


@pytest.fixture(scope="module")
def samples() -> PhantomSamples:
    """What four phantoms give."""
    return join_samples(phantom_samples(seed, TRAINING) for seed in range(4))


def improves(
    module: PointModule | GradeModule, samples: PointSet | GradeSet, folder: Path, epochs: int
) -> bool:
    """Whether the loss of the plain crops, by the averaged network, falls by a fifth."""
    run = Run(folder, epochs, len(samples), batch=16, device="cpu", progress=False)
    fit(module, samples, samples, run)
    lines = (folder / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("val_loss")
    losses = [float(v) for line in lines[1:] if (v := line.split(",")[column])]
    return losses[-1] < losses[0] * 0.8


@pytest.mark.slow
def test_a_detector_learns(samples: PhantomSamples, tmp_path: Path) -> None:
    """The heatmap loss falls within a minute."""
    torch.manual_seed(0)
    module = PointModule(3, (96, 128), Geometry((8, 8), mirror=True), Intensity(), decay=0.8)
    assert improves(module, samples.axial_points, tmp_path, epochs=16)


@pytest.mark.slow
def test_a_grader_learns(samples: PhantomSamples, tmp_path: Path) -> None:
    """The grading loss falls within a minute."""
    torch.manual_seed(0)
    module = GradeModule(
        1, (80, 80), Geometry((2, 2)), Intensity(), sided=False, rate=3e-3, decay=0.8
    )
    module.network.dropout.p = 0.0  # forty crops are for learning by heart
    assert improves(module, samples.foraminal_grades, tmp_path, epochs=16)


def test_an_empty_fold_is_refused_before_training(samples: PhantomSamples, tmp_path: Path) -> None:
    """A fold without samples is a clear error, not a crash in the middle."""
    nobody = samples.axial_grades.where(lambda _: False)
    module = GradeModule(2, (80, 112), Geometry(), Intensity(), sided=True)
    run = Run(tmp_path, 1, 4, batch=4, device="cpu", progress=False)
    with pytest.raises(ValueError, match="without samples"):
        fit(module, samples.axial_grades, nobody, run)
