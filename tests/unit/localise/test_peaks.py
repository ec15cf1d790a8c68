"""Peaks and the joint decoding of five levels."""

import numpy as np
import pytest
import torch

from dicom_sr.findings import Level
from worker.localise.heatmaps.options import HeatmapOptions
from worker.localise.heatmaps.peaks import STRIDE, decode_levels, peaks, prior, to_cell, to_crop

OPTIONS = HeatmapOptions()


def blobs(places: dict[int, list[tuple[float, float, float]]], size: int = 64) -> np.ndarray:
    """Five heatmaps with Gaussians at crop places (column, row, height)."""
    heat = np.zeros((5, size, size), dtype=np.float32)
    for channel, spots in places.items():
        for column, row, height in spots:
            heat[channel] = np.maximum(
                heat[channel], height * prior((size, size), (column, row), 1.5 * STRIDE)
            )
    return heat


def spine(heights: list[float] | None = None) -> dict[int, list[tuple[float, float, float]]]:
    """A plausible spine: five levels 28 crop pixels apart."""
    heights = heights or [0.9] * 5
    return {n: [(120.0 + 2 * n, 60.0 + 28 * n, h)] for n, h in enumerate(heights)}


@pytest.mark.parametrize("place", [(121.5, 61.5), (97.0, 143.7), (30.2, 200.9)])
def test_a_peak_is_found_to_a_fraction_of_a_cell(place: tuple[float, float]) -> None:
    """A Gaussian's centre comes back within half a cell, in crop pixels."""
    heat = torch.from_numpy(blobs({0: [(*place, 0.9)]})[:1])
    found, score = peaks(heat, 1)
    assert np.hypot(*(found[0, 0].numpy() - place)) < STRIDE / 2
    assert score[0, 0] == pytest.approx(0.9, abs=0.1)


def test_cells_and_crop_pixels_are_inverse() -> None:
    """Going to a heatmap cell and back changes nothing."""
    assert to_crop(*to_cell(101.25, 7.5)) == pytest.approx((101.25, 7.5))


def test_five_levels_are_found_in_order() -> None:
    """A clean spine gives each level its own peak."""
    found = decode_levels(blobs(spine()), OPTIONS)
    assert list(found) == list(Level)
    rows = [found[level].row for level in Level]
    assert rows == sorted(rows)


def test_a_stronger_peak_out_of_order_is_not_believed() -> None:
    """A level's brightest peak loses to a fainter one that a spine can have."""
    places = spine([0.9, 0.9, 0.5, 0.9, 0.9])
    places[2].append((130.0, 30.0, 0.8))
    found = decode_levels(blobs(places), OPTIONS)
    assert found[Level.L3_L4].row == pytest.approx(60 + 56, abs=3)


def test_a_level_that_cannot_be_is_left_out() -> None:
    """A level seen only where it cannot lie is missing rather than wrong."""
    places = spine()
    places[4] = [(120.0, 20.0, 0.9)]
    found = decode_levels(blobs(places), OPTIONS)
    assert Level.L5_S1 not in found
    assert len(found) == 4


def test_nothing_is_found_in_an_empty_heatmap() -> None:
    """No heat, no levels."""
    assert decode_levels(np.zeros((5, 64, 64), dtype=np.float32), OPTIONS) == {}
