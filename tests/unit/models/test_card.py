"""A card is written as TOML that reads back, and a bundle's identity covers all that decides."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from dicom_sr import uids
from dicom_sr.findings import Condition, Level
from worker.approaches import create_approach, read_identity
from worker.errors import BundleMismatch
from worker.models.bundle import approach_of, resolved
from worker.models.card import CARD, DEFAULT, Card, PlattScaling, identity_of, read_card, write_card

NOT_IN_IDENTITY = ("schema", "licence", "training_studies", "figures")


@pytest.fixture
def card(untrained_folder: Path) -> Card:
    """A card as it was read, with figures such as a finished bundle has."""
    levels = {level.value: {"n": 3, "auc_severe": [0.9, 0.8, 1.0]} for level in Level}
    figures = {
        condition.value: {
            "confusion": [[5, 1, 0], [0, 4, 1], [0, 0, 2]],
            "coverage_accuracy": [[1.0, 0.5]],
            "nothing": [],
            "tiny": 1e-07,
            "levels": levels,
        }
        for condition in Condition
    }
    card = read_card(untrained_folder)
    scaling = PlattScaling(slope=0.9, offset=0.1)
    networks = {
        name: entry.model_copy(update={"platt_scaling": scaling})
        for name, entry in card.networks.items()
    }
    return card.model_copy(update={"networks": networks, "figures": figures})


def test_a_card_comes_back_as_it_was_written(card: Card, tmp_path: Path) -> None:
    """Nested lists, keys with a slash, small numbers."""
    write_card(card, tmp_path)
    assert read_card(tmp_path) == card


def leaves(table: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every number and text of a card, with its path."""
    items = table.items() if isinstance(table, dict) else enumerate(table)
    for key, value in items:
        if isinstance(value, dict | list):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def changed(content: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The same card with another value."""
    other = copy.deepcopy(content)
    table = other
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    return other


def another(value: Any) -> Any:
    """A value of the same type that differs as little as possible."""
    match value:
        case int():
            return value + 1
        case float():
            return value + (0.01 if value < 0.5 else -0.01)
        case str() if len(value) == 64:
            return "00" * 32
        case _:
            return f"{value}x"


def identity(content: dict[str, Any]) -> Any:
    """The identity of a card; the approach is not compared with the networks."""
    card = Card.model_validate(content)
    return identity_of(card, resolved(create_approach(card.approach)))


def test_every_option_threshold_and_weight_changes_device_and_report(card: Card) -> None:
    """Whatever value of the card changes, the Device UID and the report's UID change with it.

    Left out are licence, figures and the list of studies, which change no result, and names or
    versions that the approach itself fixes.
    """
    content = card.model_dump(mode="json", by_alias=True, exclude_none=True)
    original = identity(content)
    fixed = {("approach", "name"), ("approach", "version"), ("target_set",)}
    tried = 0
    for path, value in leaves(content):
        if path[0] in NOT_IN_IDENTITY or path in fixed:
            continue
        if path[0] == "approach" and path[-1] in ("name", "version"):
            continue
        if path[-1] == "held_out":
            other = changed(content, path, (value + 1) % 3)
        elif path[-1] == "file":
            other = changed(content, path, f"x{value}")
        else:
            other = changed(content, path, another(value))
        found = identity(other)
        assert found.sha256 != original.sha256, path
        assert found.device_uid != original.device_uid, path
        for uid in (uids.sr_instance_uid, uids.sr_series_uid):
            assert uid("1.2", "ab", found.sha256, 1) != uid("1.2", "ab", original.sha256, 1), path
        tried += 1
    options = len(list(leaves(content["approach"]["options"])))
    assert tried > options > 50


def test_an_option_left_out_is_its_default(card: Card) -> None:
    """The identity covers resolved options: written or not, the same models are the same."""
    content = card.model_dump(mode="json", by_alias=True, exclude_none=True)
    short = changed(content, ("approach", "options"), {})
    assert identity(short) == identity(content)


def test_a_raised_version_of_the_approach_is_another_identity(
    card: Card, untrained_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fixed localiser can be delivered: reports of the earlier version can be told apart."""
    from worker.localise import Heatmaps

    before = read_identity(untrained_folder)
    monkeypatch.setattr(Heatmaps, "version", Heatmaps.version + 1)
    after = read_identity(untrained_folder)
    assert after.sha256 != before.sha256
    assert after.device_uid != before.device_uid


def test_a_card_of_a_later_version_is_refused(
    untrained_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its results could not be reproduced here."""
    content = tomllib.loads((untrained_folder / CARD).read_text())
    for path, says in (
        (("approach", "version"), "needs version 99 of two_stage"),
        (("approach", "options", "grader", "version"), "crops has version 1 here"),
    ):
        (tmp_path / CARD).write_text(tomli_w.dumps(changed(content, path, 99)))
        with pytest.raises(BundleMismatch, match=says):
            read_identity(tmp_path)


@pytest.mark.parametrize("name", ["licence", "figures"])
def test_the_identity_keeps_what_changes_no_result(card: Card, name: str) -> None:
    """Measured again or licensed otherwise, it is the same bundle."""
    value: Any = "other" if name == "licence" else {}
    other = card.model_copy(update={name: value})
    approach = resolved(create_approach(card.approach))
    assert identity_of(other, approach) == identity_of(card, approach)


def test_heads_must_be_those_of_the_approach(card: Card, tmp_path: Path) -> None:
    """Swapped outputs would swap sides: they are refused by name."""
    entry = card.networks["axial_points"]
    swapped = entry.model_copy(update={"heads": ("canal", "right_recess", "left_recess")})
    networks = {**card.networks, "axial_points": swapped}
    with pytest.raises(BundleMismatch, match="axial_points puts out canal, right_recess"):
        approach_of(card.model_copy(update={"networks": networks}), tmp_path, create_approach)
    del networks["axial_points"]
    with pytest.raises(BundleMismatch, match="two_stage needs axial_grades, axial_points"):
        approach_of(card.model_copy(update={"networks": networks}), tmp_path, create_approach)


def test_the_page_of_the_packaged_bundle_names_its_device_uid() -> None:
    """A raised version of a strategy changes the UID: the page is written again."""
    device_uid = read_identity(None).device_uid
    assert f"Device UID {device_uid};" in (DEFAULT / "README.md").read_text(encoding="utf-8")
