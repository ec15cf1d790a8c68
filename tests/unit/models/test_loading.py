"""A bundle loads only when it is exactly what its card says."""

import shutil
from pathlib import Path

import pytest
import torch

from dicom_sr.findings import Condition
from tests.support.bundles import NETWORKS
from worker.approaches import load_bundle
from worker.errors import BadSettings, BundleMismatch, BundleMissing
from worker.models import runner
from worker.models.bundle import Bundle
from worker.models.card import CARD


@pytest.fixture
def folder(untrained_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(untrained_folder, tmp_path / "bundle"))


def test_a_bundle_carries_its_identity_and_networks(untrained: Bundle) -> None:
    """All four networks and all three temperatures are there, under one hash."""
    assert set(untrained.runner.networks) == set(NETWORKS)
    assert set(untrained.card.calibration) == set(Condition)
    assert len(untrained.identity.sha256) == 64


def test_a_folder_without_a_card_is_no_bundle(tmp_path: Path) -> None:
    """The error says which folder has no card."""
    with pytest.raises(BundleMissing, match=r"card\.toml"):
        load_bundle(tmp_path)


def test_a_changed_weight_file_is_refused(folder: Path) -> None:
    """One flipped byte stops the start and names the file."""
    path = folder / "axial_grades-0.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleMismatch, match="axial_grades"):
        load_bundle(folder)


def test_a_missing_weight_file_is_named(folder: Path) -> None:
    """A file that the card names and the folder lacks is an error, not a fallback."""
    (folder / "sagittal_points-4.safetensors").unlink()
    with pytest.raises(BundleMissing, match="sagittal_points"):
        load_bundle(folder)


def test_recalibration_is_another_bundle(folder: Path) -> None:
    """The hash in every report's UID covers the calibration, not the weights alone."""
    before = load_bundle(folder, "cpu").identity.sha256
    card = (folder / CARD).read_text(encoding="utf-8")
    changed = card.replace("temperature = 1.0", "temperature = 1.2", 1)
    (folder / CARD).write_text(changed, encoding="utf-8")
    assert load_bundle(folder, "cpu").identity.sha256 != before


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("schema = 2", "schema = 3", "card schema 3; this version reads schema 2: install a newer"),
        ("schema = 2\n", "", "card schema 1; .* train it again with this version"),
        ("[calibration.", "[calibrations.", "unknown option 'calibrations': known are calibration"),
        (
            '"crop_classifier"',
            '"crop_classifiers"',
            "architecture 'crop_classifiers': known are crop",
        ),
        ("slices = 3", "slices = 2", "does not fit"),
        ('backbone = "tf_efficientnet_lite0"', 'backbone = "resnet18"', "does not fit"),
        ('name = "two_stage"', 'name = "one_stage"', "approach 'one_stage': known are two_stage"),
        ('name = "heatmaps"', 'name = "heatmap"', "localiser 'heatmap': known are heatmaps"),
        ('name = "crops"', 'name = "crop"', "grader 'crop': known are crops"),
        ("passes = 2", "passses = 2", "unknown option 'passses': known are passes, "),
        ("passes = 2", "passes = 9", "passes: 9 is out of range: at least 1, at most 5"),
        ("clear_score = 0.7", "clear_score = 7", "clear_score: 7 is out of range: .* at most 1"),
        ("10.0,\n    32.0", "33.0,\n    32.0", "span_mm: 33.0 to 32.0 is not a range"),
        ("10.0,\n    32.0", "10.0,\n    320", "out of range: at least 0, at most 200"),
        ("neighbour_mm = 4.5", "neighbour_mm = 0", "out of range: more than 0, at most 1000"),
        ('name = "untrained"', "name = untrained", "TOML"),
        ('name = "untrained"', 'name = "Wirbels\\u00e4ule"', "name: "),
        ('version = "0"', "version = 0", "cannot be used"),
        ("temperature = 1.0", "temperature = -1.0", "out of range: more than 0.05, less than 20"),
        ("abstain_below = 0.0", "abstain_below = 2.0", "abstain_below: 2.0 is out of range"),
        ("folds = 5", "folds = 1", "folds: 1 is out of range: at least 2"),
        ("held_out = 4", "held_out = 5", "no fold 5"),
        ("[training_studies]", "[studies]", "training_studies"),
        (
            '"rsna-2024/1"',
            '"rsna-2025/1"',
            "unknown target set 'rsna-2025/1': known are rsna-2024/1",
        ),
    ],
)
def test_a_wrong_card_says_what_is_wrong(folder: Path, old: str, new: str, says: str) -> None:
    """Each way a card can be wrong has its own clear message."""
    card = (folder / CARD).read_text(encoding="utf-8")
    assert old in card
    (folder / CARD).write_text(card.replace(old, new), encoding="utf-8")
    with pytest.raises(BundleMismatch, match=says):
        load_bundle(folder)


@pytest.mark.parametrize("device", ["gpu", "mps", "cuda:99"])
def test_an_unknown_device_is_refused_before_anything_loads(
    untrained_folder: Path, device: str
) -> None:
    """A device that is misspelt, not supported or not there is a setting to correct."""
    with pytest.raises(BadSettings, match="use auto"):
        load_bundle(untrained_folder, device)


def test_a_network_gives_the_mean_of_its_members(untrained: Bundle) -> None:
    """All together, or some of them by number: always the mean of their logits."""
    network = "axial_grades"
    crops = torch.rand(3, 1, 80, 112)
    count = len(untrained.runner.networks[network])
    assert count > 1

    def run(*members: int) -> torch.Tensor:
        return untrained.runner.only({network: members}).run(network, crops)

    each = [run(n) for n in range(count)]
    assert not torch.allclose(each[0], each[1], atol=1e-3)
    for members, logits in ((range(count), each), ((0, 1), each[:2])):
        mean = torch.stack(logits).mean(dim=0)
        torch.testing.assert_close(run(*members), mean, atol=1e-5, rtol=1e-4)


def test_a_large_batch_is_split_and_put_together_again(untrained: Bundle, monkeypatch) -> None:
    """However many crops are run at once, each gets its own logits in its own place."""
    crops = torch.rand(5, 1, 80, 112)
    one = untrained.runner.only({"axial_grades": (0,)})
    whole = one.run("axial_grades", crops)
    monkeypatch.setattr(runner, "MAX_BATCH", 2)
    torch.testing.assert_close(one.run("axial_grades", crops), whole, atol=1e-5, rtol=1e-4)


def test_a_changed_list_of_studies_is_refused(folder: Path) -> None:
    """The card holds the digest of the list of training studies."""
    (folder / "studies.txt").write_text("0123456789abcdef\n")
    with pytest.raises(BundleMismatch, match=r"studies\.txt"):
        load_bundle(folder, "cpu")
