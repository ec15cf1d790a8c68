"""A bundle in memory: a card, the approach that it names, and its networks on one device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dicom_sr.findings import BundleIdentity
from worker.errors import BundleMismatch
from worker.models.card import DEFAULT, ApproachEntry, Card, identity_of, read_card
from worker.models.device import choose_device
from worker.models.networks import ARCHITECTURES
from worker.models.runner import TorchRunner, load_runner
from worker.models.seam import Approach
from worker.models.studies import TrainingStudies, read_studies

CreateApproach = Callable[[ApproachEntry], Approach]
"""Creates the approach that a card names; raises ValueError that says what is wrong."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """Models that grade studies: `approach` runs the networks of `runner`.

    `studies` are those that were trained on.
    """

    card: Card
    approach: Approach
    runner: TorchRunner
    identity: BundleIdentity
    studies: TrainingStudies

    def with_runner(self, runner: TorchRunner) -> Bundle:
        """The same bundle with another runner, such as one with fewer members."""
        return replace(self, runner=runner)


def approach_of(card: Card, folder: Path, create: CreateApproach) -> Approach:
    """The approach of a card, checked against the networks that the card holds.

    Raises `BundleMismatch` when the approach or an option is unknown, when the networks differ,
    and when the card is of a later version of the approach.
    """
    try:
        approach = create(card.approach)
    except ValueError as error:
        raise BundleMismatch(f"{folder}: [approach] {error}") from error
    if card.approach.version > approach.version:
        raise BundleMismatch(
            f"{folder} needs version {card.approach.version} of {approach.name}, this is version "
            f"{approach.version}: install a newer Orthanc Lumbar"
        )
    if card.networks.keys() != approach.networks.keys():
        raise BundleMismatch(
            f"{folder} holds the networks {_names(card.networks)}; {approach.name} needs "
            f"{_names(approach.networks)}"
        )
    for name, spec in approach.networks.items():
        architecture = ARCHITECTURES.get(card.networks[name].architecture)
        if architecture is not None and architecture.kind is not spec.kind:
            raise BundleMismatch(
                f"{folder}: networks.{name} has an architecture of {architecture.kind}; "
                f"{approach.name} needs {spec.kind}"
            )
        if card.networks[name].heads != spec.heads:
            raise BundleMismatch(
                f"{folder}: networks.{name} puts out {', '.join(card.networks[name].heads)}; "
                f"{approach.name} needs {', '.join(spec.heads)}"
            )
    return approach


def resolved(approach: Approach) -> dict[str, Any]:
    """Name, version and all options of an approach, defaults included, as JSON types."""
    return {
        "name": approach.name,
        "version": approach.version,
        "options": approach.options.model_dump(mode="json"),
    }


def read_identity(folder: Path | None, create: CreateApproach) -> BundleIdentity:
    """The identity of a bundle (the packaged one when `folder` is None) without its weights.

    Raises `BundleMissing` or `BundleMismatch`.
    """
    folder = folder or DEFAULT
    card = read_card(folder)
    return identity_of(card, resolved(approach_of(card, folder, create)))


def load(folder: Path | None, device: str, create: CreateApproach) -> Bundle:
    """Load a bundle (the packaged one when `folder` is None) onto a device.

    `device` is auto, cpu, cuda or cuda:N. Raises `BundleMissing`, `BundleMismatch` when
    a file or the approach is not what the card says, `BadSettings` for a device that is
    not there.
    """
    folder = folder or DEFAULT
    card = read_card(folder)
    approach = approach_of(card, folder, create)
    return Bundle(
        card=card,
        approach=approach,
        runner=load_runner(folder, card, choose_device(device)),
        identity=identity_of(card, resolved(approach)),
        studies=read_studies(folder, card.training_studies),
    )


def _names(networks: Iterable[str]) -> str:
    return ", ".join(sorted(networks)) or "none"
