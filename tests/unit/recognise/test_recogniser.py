"""The recogniser that ships: what it knows, where it abstains, what it refuses to load."""

import hashlib

import numpy as np
import pytest
import torch
from pydicom import dcmread
from safetensors.torch import save_file
from torch import nn, zeros

from tests.support.phantoms import shared_phantom
from worker.domain.crop import Grid
from worker.domain.study import Role
from worker.errors import BundleMismatch, BundleMissing, Misconfigured
from worker.evaluation.recogniser_evaluation import (
    known_slices,
    recognise_slices,
    recognition_counts,
)
from worker.intake.weighting import Weighting
from worker.phantom import write_phantom
from worker.recognise.contrast import measure
from worker.recognise.recogniser import FOLDER, WEIGHTS, SliceRecogniser, load_recogniser


def test_a_t2_is_known_and_a_t1_is_left_open(recogniser, middle):
    """Of a phantom's two sagittal series the T2 is recognised, and the T1 gives no weighting."""
    assert recogniser.recognise(*middle(Role.SAGITTAL_T2)).weighting is Weighting.T2
    assert recogniser.recognise(*middle(Role.SAGITTAL_T1)).weighting is None


@pytest.mark.parametrize(("scale", "shift"), [(0.01, 0), (7, 0), (1, -300), (1, 5000), (3, 11)])
@pytest.mark.parametrize("role", [Role.SAGITTAL_T1, Role.SAGITTAL_T2])
def test_scale_and_shift_of_intensities_change_nothing(recogniser, middle, role, scale, shift):
    """Scanners have no unit of intensity: a linear scale gives the same recognition."""
    pixels, grid = middle(role)
    assert recogniser.recognise(pixels * scale + shift, grid) == recogniser.recognise(pixels, grid)


def test_the_way_a_slice_is_stored_changes_nothing(recogniser, middle):
    """A slice stored rotated and reversed, with a matching grid, gives the same result."""
    pixels, grid = middle(Role.SAGITTAL_T2)
    stored = np.ascontiguousarray(pixels.T[::-1, :])
    lies = Grid(grid.row_spacing, grid.column_spacing, turned=True, flip_columns=True)
    upright = recogniser.recognise(pixels, grid)
    assert recogniser.recognise(stored, lies).weighting is upright.weighting is Weighting.T2


@pytest.mark.parametrize("kind", ["noise", "flat", "black", "inverted T1", "inverted T2", "ramp"])
def test_what_is_no_picture_of_a_spine_is_left_open(recogniser, middle, kind):
    """Noise, emptiness and inverted images are not recognised."""
    grid = Grid(1, 1)
    ramp = np.linspace(0, 1000, 256 * 256, dtype=np.float32).reshape(256, 256)
    pixels = {
        "noise": np.random.default_rng(0).rayleigh(100, (256, 256)).astype(np.float32),
        "flat": np.full((256, 256), 100, np.float32),
        "black": np.zeros((256, 256), np.float32),
        "ramp": ramp,
    }
    for name, role in (("inverted T1", Role.SAGITTAL_T1), ("inverted T2", Role.SAGITTAL_T2)):
        shown = middle(role)[0]
        pixels[name] = shown.max() - shown
    if kind.startswith("inverted"):
        grid = middle(Role.SAGITTAL_T2)[1]
    assert recogniser.recognise(pixels[kind], grid).weighting is None


def test_the_measured_ratios_are_those_of_the_picture():
    """Fluid of 90, discs of 45 and marrow of 30 above the dark give 3 and 1.5, with their sizes."""
    outlines = np.zeros((3, 96, 96), np.float32)
    outlines[0, 10:70, 60:65] = 1
    outlines[2, 10:70, 30:50] = 1
    outlines[1, 30:36, 30:50] = 1
    outlines[2, 30:36, 30:50] = 0
    levels = (90, 45, 30)
    crop = 7 + sum(level * mask for level, mask in zip(levels, outlines, strict=True))
    found = measure(crop.astype(np.float32), outlines)
    assert (found.canal_to_marrow, found.disc_to_marrow, found.brighter) == (3, 1.5, 1)
    # Of 60 rows, the two in the middle of the disc have too little marrow near them.
    assert found.canal_mm == (60 - 2) * 2.5
    assert found.vertebra_mm2 == (60 - 6) * 20 * 2.5**2


class Drawn(nn.Module):
    """A network that draws the same outlines on every crop."""

    def __init__(self, outlines):
        super().__init__()
        self.logits = torch.from_numpy(outlines * 20 - 10)[None]

    def forward(self, crops):
        return self.logits


@pytest.mark.parametrize(("discs", "expected"), [(True, Weighting.T2), (False, None)])
def test_fluid_without_discs_to_compare_it_with_is_no_t2(discs, expected):
    """Without visible discs, fluid and discs cannot be compared."""
    outlines = np.zeros((3, 96, 96), np.float32)
    outlines[0, 10:70, 60:65] = 1
    outlines[2, 10:70, 30:50] = 1
    crop = 30 * outlines[2] + 90 * outlines[0]
    if discs:
        outlines[1, 30:36, 30:50] = 1
        outlines[2, 30:36, 30:50] = 0
    seen = SliceRecogniser(Drawn(outlines)).recognise(crop, Grid(2.5, 2.5))
    assert seen.weighting is expected
    assert (measure(crop, outlines).disc_to_marrow is None) is not discs


def test_absent_weights_are_misconfigured(tmp_path):
    """Without its file the recogniser says which one is missing."""
    with pytest.raises(BundleMissing, match=rf"{WEIGHTS}.*reinstall Orthanc Lumbar") as raised:
        load_recogniser(tmp_path)
    assert isinstance(raised.value, Misconfigured)


def test_changed_weights_are_refused(tmp_path):
    """One changed byte is found by the hash."""
    content = bytearray((FOLDER / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (tmp_path / WEIGHTS).write_bytes(content)
    with pytest.raises(BundleMismatch, match=r"SHA-256.*reinstall Orthanc Lumbar"):
        load_recogniser(tmp_path)


@pytest.mark.parametrize("content", ["garbage", "other tensors"])
def test_weights_of_something_else_are_refused(tmp_path, content):
    """A file of the right hash that holds other things is refused by name."""
    path = tmp_path / WEIGHTS
    if content == "garbage":
        path.write_bytes(b"no tensors")
    else:
        save_file({"other": zeros(1)}, path)
    with pytest.raises(BundleMismatch, match="does not match"):
        load_recogniser(tmp_path, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.slow
def test_of_real_slices_none_is_decided_wrongly(recogniser, real_data):
    """Every 17th slice of the real data: T2 is found, and no T1 or inverted slice taken for it."""
    counts = recognition_counts(recognise_slices(known_slices(real_data)[::17], recogniser))
    assert sum(one.slices for one in counts) > 400
    assert sum(one.decided for one in counts if one.truth is Weighting.T2) > 5
    assert sum(one.wrong for one in counts) == 0


def test_whole_studies_are_measured_on_what_is_sagittal_t1_or_t2(tmp_path):
    """Reports and objects without a place are passed over, and three slices have a middle too."""
    phantom = shared_phantom(0)
    folder = tmp_path / "rsna_2024/train_images"
    write_phantom(phantom, folder.parent)
    kept = phantom.of(Role.SAGITTAL_T2).series_instance_uid
    for file in folder.rglob("*.dcm"):
        image = dcmread(file)
        if image.SeriesInstanceUID != kept:
            del image.ImagePositionPatient
            image.save_as(file)
    for file in sorted((folder / phantom.study_instance_uid / kept).iterdir())[3:]:
        file.unlink()
    whole = [one for one in known_slices(tmp_path) if one.source.startswith("whole")]
    assert [one.truth for one in whole] == [Weighting.T2] * 3
