"""Augmentation moves images and points together."""

import pytest
import torch

from worker.training.augment import (
    Gamma,
    Geometry,
    Intensity,
    Move,
    Negative,
    Noise,
    Shading,
    Softness,
    augmentation,
    batch_of,
)


def spots(count: int, size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Images with one bright Gaussian each, and where it is."""
    generator = torch.Generator().manual_seed(3)
    points = 24 + 16 * torch.rand(count, 1, 2, generator=generator)
    axis = torch.arange(size, dtype=torch.float32)
    dx = axis.view(1, 1, -1) - points[:, :, :1]
    dy = axis.view(1, -1, 1) - points[:, :, 1:]
    return (255 * torch.exp(-(dx**2 + dy**2) / 8)).to(torch.uint8), points


def centres(crops: torch.Tensor) -> torch.Tensor:
    """Centre of mass (column, row) of each crop, shape (batch, 2)."""
    weight = crops[:, 0] / crops[:, 0].sum((1, 2), keepdim=True)
    rows, columns = (torch.arange(n, dtype=torch.float32) for n in crops.shape[2:])
    return torch.stack([(weight.sum(1) * columns).sum(1), (weight.sum(2) * rows).sum(1)], dim=1)


def plain(batch) -> list[torch.Tensor]:
    """A batch as tensors."""
    return [part.as_subclass(torch.Tensor) for part in batch]


@pytest.mark.parametrize(
    "geometry",
    [
        None,
        Geometry(shift_px=(5, 3)),
        Geometry(scale=1.3),
        Geometry(rotation_deg=25),
        Geometry(mirror=True),
        Geometry(shift_px=(4, 4), scale=1.2, rotation_deg=15, mirror=True),
    ],
    ids=["plain", "shift", "scale", "rotation", "mirror", "all"],
)
def test_points_go_where_their_pixels_go(geometry: Geometry | None) -> None:
    """After any move the point is still on its spot, to a third of a pixel."""
    torch.manual_seed(0)
    crops, points, _ = plain(Move((48, 48), geometry)(batch_of(*spots(24))))
    inside = ((points[:, 0] > 8) & (points[:, 0] < 39)).all(dim=1)
    assert inside.sum() > 12
    error = (centres(crops) - points[:, 0]).norm(dim=1)
    assert error[inside].max() < 0.34


def test_without_geometry_the_plain_centre_is_cut() -> None:
    """Validation sees exactly the central pixels."""
    images, points = spots(2)
    crops, moved, mirrored = plain(Move((48, 48))(batch_of(images, points)))
    torch.testing.assert_close(crops[:, 0], images[:, 8:56, 8:56].float())
    torch.testing.assert_close(moved, points - 8)
    assert not mirrored.any()


def test_mirroring_is_told() -> None:
    """Who was mirrored is known, so that sides can be swapped; about half are."""
    torch.manual_seed(0)
    images, points = spots(64)
    crops, _, mirrored = plain(Move((64, 64), Geometry(mirror=True))(batch_of(images, points)))
    assert 16 < int(mirrored.sum()) < 48
    flipped = crops[mirrored][:, 0]
    torch.testing.assert_close(flipped, images[mirrored].flip(-1).float(), atol=0.05, rtol=0)
    straight = crops[~mirrored][:, 0]
    torch.testing.assert_close(straight, images[~mirrored].float(), atol=0.05, rtol=0)


def test_nobody_is_mirrored_unless_asked() -> None:
    """Foramina are graded as they lie: a recipe without `mirror` never mirrors."""
    torch.manual_seed(0)
    everything = augmentation((48, 48), Geometry(shift_px=(4, 4), rotation_deg=20), Intensity())
    assert not plain(everything(batch_of(*spots(64))))[2].any()


def test_neighbouring_slices_move_together() -> None:
    """All slices of a crop get one move, and each crop of a batch its own."""
    torch.manual_seed(0)
    image = spots(1)[0][0]
    stacks = image.expand(4, 3, 64, 64)
    geometry = Geometry(shift_px=(6, 6), scale=1.3, rotation_deg=30, mirror=True)
    crops = plain(Move((48, 48), geometry)(batch_of(stacks)))[0]
    torch.testing.assert_close(crops[:, 0], crops[:, 1])
    torch.testing.assert_close(crops[:, 0], crops[:, 2])
    assert not torch.allclose(crops[0], crops[1], atol=1)


@pytest.mark.parametrize(
    "change", [Gamma(2.0), Shading(0.5), Softness(1.0), Negative(0.5)], ids=lambda c: type(c)
)
def test_neighbouring_slices_keep_their_relation(change) -> None:
    """A change of grey values is the same for all slices of a crop, not for all crops."""
    torch.manual_seed(0)
    stacks = torch.rand(1, 1, 32, 32).expand(8, 3, 32, 32) * 255
    changed, points, _ = plain(change(batch_of(stacks, torch.ones(8, 1, 2))))
    torch.testing.assert_close(changed[:, 0], changed[:, 1])
    torch.testing.assert_close(changed[:, 0], changed[:, 2])
    assert any(not torch.allclose(changed[0], other, atol=1e-3) for other in changed[1:])
    torch.testing.assert_close(points, torch.ones(8, 1, 2))


@pytest.mark.parametrize(
    "change", [Shading(0.0), Softness(0.0), Negative(0.0), Noise(0.0)], ids=lambda c: type(c)
)
def test_strength_zero_changes_nothing(change) -> None:
    """What a recipe switches off is off."""
    torch.manual_seed(0)
    crops = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(plain(change(batch_of(crops)))[0], crops)


def test_a_negative_is_dark_for_bright() -> None:
    """T2 to a network that knew T1: brightest and darkest change places."""
    crops = torch.rand(4, 1, 32, 32)
    (negative, *_) = plain(Negative(1.1)(batch_of(crops)))
    for before, after in zip(crops, negative, strict=True):
        torch.testing.assert_close(after, before.max() - before)


def test_intensities_change_and_stay_finite() -> None:
    """Shaken crops differ from each other and hold no NaN, black images included."""
    torch.manual_seed(0)
    crops = torch.cat([torch.rand(1, 1, 32, 32).expand(4, 1, 32, 32), torch.zeros(1, 1, 32, 32)])
    everything = augmentation((32, 32), Geometry(), Intensity(negative=0.5))
    shaken = plain(everything(batch_of(crops * 255)))[0]
    assert torch.isfinite(shaken).all()
    for one, other in ((0, 1), (0, 2), (2, 3)):
        assert not torch.allclose(shaken[one], shaken[other], atol=1e-2)
    assert not torch.allclose(shaken[:4], crops[:4], atol=1e-2)


def test_the_same_seed_gives_the_same_batch() -> None:
    """Every number comes from torch's generator, so that a run can be repeated."""
    geometry = Geometry(shift_px=(4, 4), scale=1.2, rotation_deg=15, mirror=True)
    everything = augmentation((48, 48), geometry, Intensity(negative=0.5))
    batches = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        batches.append(plain(everything(batch_of(*spots(8)))))
    for first, again in zip(batches[0], batches[1], strict=True):
        torch.testing.assert_close(first, again)
    assert not torch.allclose(batches[0][0], batches[2][0], atol=1e-2)
