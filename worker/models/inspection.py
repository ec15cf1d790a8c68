"""What a bundle is made of and whether it is intact, without loading a network."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from dicom_sr.findings import BundleIdentity
from worker.models.bundle import CreateApproach, approach_of, resolved
from worker.models.card import DEFAULT, Card, Member, NetworkEntry, identity_of, read_card


@dataclass(frozen=True)
class NetworkFile:
    """A member's file; `intact` when its SHA-256 is that of the card, `size` in bytes or None."""

    name: str
    file: str
    architecture: str
    size: int | None
    intact: bool


@dataclass(frozen=True)
class InspectedBundle:
    """A bundle as it lies on disk."""

    folder: Path
    identity: BundleIdentity
    card: Card
    networks: tuple[NetworkFile, ...]


def inspect(folder: Path | None, create: CreateApproach) -> InspectedBundle:
    """Inspect a bundle (the packaged one when `folder` is None).

    Raises `BundleMissing` without a card and `BundleMismatch` for one that cannot be used;
    a missing or changed network file is no error here, it is reported.
    """
    folder = folder or DEFAULT
    card = read_card(folder)
    return InspectedBundle(
        folder=folder,
        identity=identity_of(card, resolved(approach_of(card, folder, create))),
        card=card,
        networks=tuple(
            _file(folder, name, entry, member)
            for name, entry in card.networks.items()
            for member in entry.members
        ),
    )


def _file(folder: Path, name: str, entry: NetworkEntry, member: Member) -> NetworkFile:
    path = folder / member.file
    content = path.read_bytes() if path.is_file() else None
    return NetworkFile(
        name=name,
        file=member.file,
        architecture=entry.architecture,
        size=None if content is None else len(content),
        intact=content is not None and hashlib.sha256(content).hexdigest() == member.sha256,
    )
