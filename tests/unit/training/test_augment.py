"""Augmentation moves images and points together."""

import pytest
import torch

from worker.training.augment import Geometry, Intensity, move, shake


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


@pytest.mark.parametrize(
    "geometry",
    [
        None,
        Geometry(shift_px=(5, 3)),
        Geometry(scale=1.3),
        Geometry(rotation_deg=25),
        Geometry(mirror=True),
        Geometry((4, 4), 1.2, 15, True),
    ],
    ids=["plain", "shift", "scale", "rotation", "mirror", "all"],
)
def test_points_go_where_their_pixels_go(geometry: Geometry | None) -> None:
    """After any move the point is still on its spot, to a third of a pixel."""
    torch.manual_seed(0)
    images, points = spots(24)
    moved = move(images, points, (48, 48), geometry)
    inside = ((moved.points[:, 0] > 8) & (moved.points[:, 0] < 39)).all(dim=1)
    assert inside.sum() > 12
    error = (centres(moved.crops) - moved.points[:, 0]).norm(dim=1)
    assert error[inside].max() < 0.34


def test_without_geometry_the_plain_centre_is_cut() -> None:
    """Validation sees exactly the central pixels."""
    images, points = spots(2)
    moved = move(images, points, (48, 48), None)
    torch.testing.assert_close(moved.crops[:, 0], images[:, 8:56, 8:56].float())
    assert not moved.mirrored.any()


def test_mirroring_is_told() -> None:
    """Who was mirrored is known, so that sides can be swapped; about half are."""
    torch.manual_seed(0)
    images, points = spots(64)
    moved = move(images, points, (64, 64), Geometry(mirror=True))
    assert 16 < int(moved.mirrored.sum()) < 48
    flipped = moved.crops[moved.mirrored][:, 0]
    torch.testing.assert_close(flipped, images[moved.mirrored].flip(-1).float(), atol=0.05, rtol=0)


def test_intensities_change_and_stay_finite() -> None:
    """Shaken crops differ from each other and hold no NaN, black images included."""
    torch.manual_seed(0)
    crops = torch.cat([torch.rand(4, 1, 32, 32) * 255, torch.zeros(1, 1, 32, 32)])
    shaken = shake(crops, Intensity(invert=0.5))
    assert torch.isfinite(shaken).all()
    assert not torch.allclose(shaken[:4], crops[:4] / 255)
