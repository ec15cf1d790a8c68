"""A card is written as TOML that reads back, and its hash covers all that changes a grade."""

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest

from dicom_sr.findings import Condition, Level
from worker.models.card import CARD, DETECTORS, content_hash, identity_of, read_card, to_toml


@pytest.fixture
def card(untrained_folder: Path) -> dict[str, Any]:
    """A card as it was read, with figures such as a finished bundle has."""
    card = read_card(untrained_folder)
    levels = {level.value: {"n": 3, "auc_severe": [0.9, 0.8, 1.0]} for level in Level}
    card["figures"] = {
        condition.value: {
            "confusion": [[5, 1, 0], [0, 4, 1], [0, 0, 2]],
            "coverage_accuracy": [[1.0, 0.5]],
            "nothing": [],
            "tiny": 1e-07,
            "levels": levels,
        }
        for condition in Condition
    }
    return card


def test_a_card_comes_back_as_it_was_written(card) -> None:
    """Tables, tables in lists, nested lists, keys with a slash, all types of values."""
    card["odd"] = {"yes": True, "no": False, "text": 'a "quoted" back\\slash, ü', "empty": {}}
    assert tomllib.loads(to_toml(card)) == card


def test_a_finished_card_is_accepted_by_its_reader(card, tmp_path: Path) -> None:
    """What stands in it for people does not make it unusable."""
    (tmp_path / CARD).write_text(to_toml(card), encoding="utf-8")
    assert read_card(tmp_path) == card


def set_in(table: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    """Set one value deep in a card."""
    for key in path[:-1]:
        table = table[key]
    assert table[path[-1]] != value
    table[path[-1]] = value


DECISIVE = [
    *((("temperatures", c.value), 1.3) for c in Condition),
    *((("abstain_below", c.value), 0.4) for c in Condition),
    *((("beliefs", name), [1.0, 0.1]) for name in DETECTORS),
    (("networks", "axial_grades", "members", 1, "sha256"), "00" * 32),
    (("networks", "axial_grades", "members", 1, "held_out"), 0),
    (("networks", "foraminal_grades", "folds"), 4),
    (("networks", "foraminal_grades", "architecture"), "grades_lite0"),
    (("networks", "sagittal_points", "outputs"), 14),
]


@pytest.mark.parametrize(("path", "value"), DECISIVE, ids=lambda v: str(v)[:60])
def test_the_hash_changes_with_all_that_changes_a_grade(card, path, value) -> None:
    """Every tensor file, what runs it, and the calibration."""
    changed = copy.deepcopy(card)
    set_in(changed, path, value)
    assert content_hash(changed) != content_hash(card)
    assert identity_of(changed).sha256 != identity_of(card).sha256


def test_a_member_more_or_less_is_another_bundle(card) -> None:
    """The mean of two is not the mean of three."""
    changed = copy.deepcopy(card)
    changed["networks"]["axial_grades"]["members"].pop()
    assert content_hash(changed) != content_hash(card)


@pytest.mark.parametrize("name", ["name", "version", "device_uid", "figures"])
def test_the_hash_keeps_what_changes_no_grade(card, name: str) -> None:
    """Measured again or named anew, it is the same bundle."""
    changed = {**card, name: "other"}
    assert content_hash(changed) == content_hash(card)


def test_the_hash_survives_the_file(card) -> None:
    """Written and read, in whatever order, a card has the hash it had in memory."""
    turned = dict(reversed(list(card.items())))
    assert content_hash(tomllib.loads(to_toml(turned))) == content_hash(card)
