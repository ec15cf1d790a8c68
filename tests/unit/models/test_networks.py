"""What every registered architecture keeps to: a new one is tested by being registered."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from worker.localise.heatmaps.peaks import STRIDE
from worker.models.networks import ARCHITECTURES, build_network, middle, standardise
from worker.models.seam import NetworkKind
from worker.training.members import save_network

OUTPUTS = 3
SHAPE = (64, 96)


def crops(count: int, slices: int) -> torch.Tensor:
    """Crops with large and small structures, shape (count, slices, height, width), 12-bit."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, slices, 8, 12, generator=generator)
    smooth = nn.functional.interpolate(coarse, SHAPE, mode="bilinear")
    return 1500 * smooth + 80 * torch.rand(count, slices, *SHAPE, generator=generator)


def settled(name: str, slices: int) -> nn.Module:
    """A network whose batch statistics are those of crops, not of nothing."""
    torch.manual_seed(0)
    network = build_network(name, OUTPUTS, kwargs_of(name, slices))
    with torch.no_grad():
        for _ in range(8):
            network(crops(8, slices))
    return network.eval()


def kwargs_of(name: str, slices: int) -> dict[str, int]:
    """The number of slices, where an architecture takes it."""
    return {"slices": slices} if "slices" in ARCHITECTURES[name].options else {}


def slices_of(name: str) -> int:
    """How many slices an architecture is given."""
    return 3 if kwargs_of(name, 3) else 1


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def named(request) -> tuple[str, nn.Module]:
    """Every architecture, settled."""
    return request.param, settled(request.param, slices_of(request.param))


@pytest.fixture(scope="module", params=[1, 3])
def grader(request) -> nn.Module:
    """The crop classifier of one slice and of three."""
    return settled("crop_classifier", request.param)


@torch.no_grad()
def run(named: tuple[str, nn.Module], count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops and their logits."""
    name, network = named
    given = crops(count, slices_of(name))
    return given, network(given)


def test_unknown_names_list_the_nearest_first() -> None:
    """Architecture, option and backbone."""
    with pytest.raises(ValueError, match="'crop_clasifier': known are crop_classifier"):
        build_network("crop_clasifier", 1, {})
    with pytest.raises(ValueError, match="option 'slice': known are slices"):
        build_network("crop_classifier", 1, {"slice": 3})
    with pytest.raises(ValueError, match="unknown backbone 'resnet_18'"):
        build_network("crop_classifier", 1, {"backbone": "resnet_18"})


def test_any_backbone_of_timm_will_do() -> None:
    """A residual network draws heatmaps and grades crops as well."""
    for name, kind in (("heatmap_pyramid", 4), ("crop_classifier", 3)):
        network = build_network(name, OUTPUTS, {"backbone": "resnet18"}).eval()
        with torch.no_grad():
            assert network(crops(1, 1)).ndim == kind


def test_logits_have_the_shape_of_their_kind(named) -> None:
    """Heatmaps at a quarter of the size; three grades for each target; all finite."""
    _, logits = run(named)
    heat = (4, OUTPUTS, SHAPE[0] // STRIDE, SHAPE[1] // STRIDE)
    assert logits.shape == (
        heat if ARCHITECTURES[named[0]].kind is NetworkKind.POINTS else (4, OUTPUTS, 3)
    )
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()


def test_a_batch_equals_its_elements(named) -> None:
    """Together or one by one, and different crops differ."""
    given, together = run(named)
    with torch.no_grad():
        alone = torch.cat([named[1](one[None]) for one in given])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


@pytest.mark.parametrize(("scale", "offset"), [(1 / 1580, 0.0), (0.16, 0.0), (3.0, 700.0)])
def test_linear_changes_of_intensity_do_not_matter(named, scale: float, offset: float) -> None:
    """The same anatomy in 0..1, as an 8-bit picture or with an offset gives the same logits."""
    given, logits = run(named)
    with torch.no_grad():
        changed = named[1](given * scale + offset)
    torch.testing.assert_close(changed, logits, atol=5e-3, rtol=5e-3)


def test_the_same_crops_give_the_same_logits(named) -> None:
    """Nothing is left to chance once a network is fitted."""
    torch.testing.assert_close(run(named)[1], run(named)[1], atol=0, rtol=0)


def test_saved_and_loaded_it_says_nearly_the_same(named, tmp_path: Path) -> None:
    """Through float16 on disk logits move by a few percent of their spread at most."""
    name, network = named
    given, logits = run(named)
    path = tmp_path / "folder" / "network.safetensors"
    save_network(network, path)
    stored = load_file(path)
    assert {v.dtype for v in stored.values() if v.is_floating_point()} == {torch.float16}
    again = build_network(name, OUTPUTS, kwargs_of(name, slices_of(name)))
    again.load_state_dict({key: value.float() for key, value in stored.items()})
    with torch.no_grad():
        loaded = again.eval()(given)
    assert (loaded - logits).abs().max() < 0.03 * logits.std()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_black_crop_is_graded_without_a_nan(named) -> None:
    """Outside the image there is nothing, and nothing is no error."""
    name, network = named
    with torch.no_grad():
        assert torch.isfinite(network(torch.zeros(2, slices_of(name), *SHAPE))).all()


@torch.no_grad()
def test_a_grader_takes_three_slices_and_looks_at_those_it_knows(grader) -> None:
    """A network of one slice uses the middle slice; one of three uses all, in their order."""
    given = crops(3, 3)
    logits = grader(given)
    other = given.clone()
    other[:, [0, 2]] = given[:, [0, 2]].roll(1, dims=0)
    swapped = given[:, [2, 1, 0]]
    if grader.slices == 1:
        torch.testing.assert_close(grader(other), logits)
        torch.testing.assert_close(grader(middle(given)), logits)
    else:
        assert not torch.allclose(grader(other), logits, atol=1e-2)
        assert not torch.allclose(grader(swapped), logits, atol=1e-2)
    moved = given.clone()
    moved[:, 1] = given[:, 1].roll(1, dims=0)
    assert not torch.allclose(grader(moved), logits, atol=1e-2)


@torch.no_grad()
def test_crops_standardised_before_are_graded_alike(grader) -> None:
    """Training mixes standardised crops: `classify` of them is what `forward` says."""
    given = crops(3, 3)
    torch.testing.assert_close(grader.classify(standardise(given)), grader(given))


def test_slices_are_standardised_as_their_middle_one() -> None:
    """A neighbour that is darker stays darker: the middle slice alone sets the scale."""
    given = crops(2, 3)
    given[:, 0] = given[:, 1] * 0.5
    standard = standardise(given)
    torch.testing.assert_close(standard[:, 1:2], standardise(middle(given)))
    assert (standard[:, 0] <= standard[:, 1] + 1e-6).all()
    assert (standard[:, 0] < standard[:, 1] - 0.1).float().mean() > 0.5
