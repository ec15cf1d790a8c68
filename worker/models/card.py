"""A bundle's card: read, checked, and hashed; written as TOML."""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dicom_sr.findings import BundleIdentity, Condition
from worker.errors import BundleMismatch, BundleMissing

DEFAULT: Final = Path(__file__).parent / "default"
CARD: Final = "card.toml"
DETECTORS: Final = ("sagittal_points", "axial_points")
GRADERS: Final = ("foraminal_grades", "axial_grades")
NETWORKS: Final = DETECTORS + GRADERS


def read_card(folder: Path | None = None) -> dict[str, Any]:
    """Read a bundle's card without loading its weights.

    Raises `BundleMissing` when there is none, `BundleMismatch` when it cannot be used.
    """
    folder = folder or DEFAULT
    path = folder / CARD
    if not path.is_file():
        raise BundleMissing(f"no model bundle at {folder}: it has no {CARD}")
    try:
        card = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise BundleMismatch(f"{path} is not valid TOML: {error}") from error
    if missing := _missing(card):
        raise BundleMismatch(f"{path} lacks {', '.join(missing)}")
    try:
        _check_values(card)
    except (TypeError, ValueError, KeyError) as error:
        raise BundleMismatch(f"{path} cannot be used: {error}") from error
    return card


def identity_of(card: Mapping[str, Any]) -> BundleIdentity:
    """The identity that a report carries."""
    return BundleIdentity(
        name=card["name"],
        version=card["version"],
        sha256=content_hash(card),
        device_uid=card["device_uid"],
    )


def content_hash(card: Mapping[str, Any]) -> str:
    """The hash of all that changes a grade: every tensor file, and the calibration."""
    decisive = {
        name: card[name] for name in ("networks", "temperatures", "beliefs", "abstain_below")
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def checked_file(
    folder: Path, entry: Mapping[str, Any], mend: str = "reinstall the bundle"
) -> Path:
    """The file of an entry with `file` and `sha256`; `mend` is what to do where it is not that.

    Raises `BundleMissing` when it is not there, `BundleMismatch` for another content.
    """
    path: Path = folder / entry["file"]
    if not path.is_file():
        raise BundleMissing(f"{path} is missing: {mend}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != entry["sha256"]:
        raise BundleMismatch(
            f"{path} is not the file that was measured: sha256 {found[:12]} instead of "
            f"{entry['sha256'][:12]}; {mend}"
        )
    return path


def to_toml(card: Mapping[str, Any]) -> str:
    """Write a card as TOML: scalars first, then tables."""
    return "\n".join(_lines(card, ())) + "\n"


def _missing(card: Mapping[str, Any]) -> list[str]:
    wanted = {
        "networks": NETWORKS,
        "beliefs": DETECTORS,
        "temperatures": tuple(Condition),
        "abstain_below": tuple(Condition),
        "training_studies": ("file", "sha256"),
    }
    missing = [name for name in ("name", "version", "device_uid", *wanted) if name not in card]
    for table, names in wanted.items():
        missing += [f"{table}.{name}" for name in names if name not in card.get(table, {})]
    return missing


def _check_values(card: Mapping[str, Any]) -> None:
    """Raise for a value that would fail only later, in the middle of a study."""
    for name in ("name", "version"):
        # What the SR keeps: VR LO in any character set (PS3.5 6.2).
        if not re.fullmatch(r"[!-\[\]-}]([ -\[\]-}]{0,62}[!-\[\]-}])?", card[name]):
            raise ValueError(f"{name} must be 1 to 64 plain characters")
    if not re.fullmatch(r"2\.25\.\d{1,39}", card["device_uid"]):
        raise ValueError("device_uid must be a 2.25 UID")
    for condition in Condition:
        if not 0.05 < float(card["temperatures"][condition]) < 20:
            raise ValueError(f"temperatures.{condition} is out of range")
        if not 0 <= float(card["abstain_below"][condition]) < 1:
            raise ValueError(f"abstain_below.{condition} must be in 0..1")
    for detector in DETECTORS:
        slope, offset = card["beliefs"][detector]
        if not math.isfinite(slope) or not math.isfinite(offset):
            raise ValueError(f"beliefs.{detector} must be two numbers")
    for name in NETWORKS:
        entry = card["networks"][name]
        if int(entry["folds"]) < 2 or not entry["members"]:
            raise ValueError(f"networks.{name} needs members and two folds or more")
        for member in entry["members"]:
            if not 0 <= int(member["held_out"]) < int(entry["folds"]):
                raise ValueError(f"networks.{name}: no fold {member['held_out']}")
            if not isinstance(member["file"], str) or not isinstance(member["sha256"], str):
                raise ValueError(f"networks.{name}: a member needs file and sha256")


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = [f"[{'.'.join(map(_key, path))}]"] if path else []
    lines += [f"{_key(k)} = {_value(v)}" for k, v in table.items() if not isinstance(v, Mapping)]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += ["", *_lines(value, (*path, key))]
    return lines


def _key(key: str) -> str:
    """A key, quoted where TOML wants that: levels have a slash."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _value(value: object) -> str:
    if isinstance(value, list):
        if value and isinstance(value[0], Mapping):
            return "[\n" + "".join(f"    {_value(item)},\n" for item in value) + "]"
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, str) else repr(value)
