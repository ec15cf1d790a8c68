"""What a bundle is made of and whether it is intact, without loading a network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_sr.findings import BundleIdentity
from worker.models.card import DEFAULT, NETWORKS, identity_of, read_card


@dataclass(frozen=True)
class NetworkFile:
    """A member's file; `intact` when its sha256 is that of the card, `size` in bytes or None."""

    name: str
    file: str
    architecture: str
    size: int | None
    intact: bool


@dataclass(frozen=True)
class Inspected:
    """A bundle as it lies on disk; `figures` is what the card says of each condition."""

    folder: Path
    identity: BundleIdentity
    licence: str
    networks: tuple[NetworkFile, ...]
    temperatures: Mapping[str, float]
    figures: Mapping[str, Mapping[str, Any]]


def inspect(folder: Path | None = None) -> Inspected:
    """Look at a bundle (the default one when `folder` is None).

    Raises `BundleMissing` without a card and `BundleMismatch` for one that cannot be used;
    a missing or changed network file is no error here, it is told.
    """
    folder = folder or DEFAULT
    card = read_card(folder)
    return Inspected(
        folder=folder,
        identity=identity_of(card),
        licence=card.get("licence", ""),
        networks=tuple(
            _network(folder, name, card["networks"][name]["architecture"], member)
            for name in NETWORKS
            for member in card["networks"][name]["members"]
        ),
        temperatures=card["temperatures"],
        figures=card.get("figures", {}),
    )


def _network(folder: Path, name: str, architecture: str, entry: Mapping[str, Any]) -> NetworkFile:
    path = folder / entry["file"]
    content = path.read_bytes() if path.is_file() else None
    return NetworkFile(
        name=name,
        file=entry["file"],
        architecture=architecture,
        size=None if content is None else len(content),
        intact=content is not None and hashlib.sha256(content).hexdigest() == entry["sha256"],
    )
