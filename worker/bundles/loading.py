"""From a folder with a card to networks in memory, every tensor file checked by its hash."""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dicom_sr.findings import BundleIdentity, Condition
from worker.bundles.networks import ARCHITECTURES
from worker.errors import BadSettings, BundleMismatch, BundleMissing

DEFAULT: Final = Path(__file__).parent / "default"
CARD: Final = "card.toml"
DETECTORS: Final = ("sagittal_points", "axial_points")
GRADERS: Final = ("foraminal_grades", "axial_grades")
NETWORKS: Final = DETECTORS + GRADERS


@dataclass(frozen=True, eq=False)
class Bundle:
    """Four networks on one device, their identity and their calibration.

    `temperatures` divides the logits of each condition, after the training weights have
    been taken out. `beliefs` holds (slope, offset) for each detector, see `belief`. `card`
    is the whole card as read.
    """

    identity: BundleIdentity
    networks: Mapping[str, nn.Module]
    temperatures: Mapping[Condition, float]
    beliefs: Mapping[str, tuple[float, float]]
    device: torch.device
    card: Mapping[str, Any]

    def run(self, network: str, crops: Tensor) -> Tensor:
        """The logits of one network for crops (batch, 1, height, width), on the CPU as float32."""
        with torch.inference_mode():
            logits: Tensor = self.networks[network](
                crops.to(self.device, memory_format=torch.channels_last)
            )
            return logits.float().cpu()

    def belief(self, network: str, heat: float) -> float:
        """How probably a detector's point with this heat is right, both 0..1.

        A logistic curve over the logit of the heat, fitted on studies kept out of training.
        """
        slope, offset = self.beliefs[network]
        heat = min(max(heat, 1e-6), 1 - 1e-6)
        return 1 / (1 + math.exp(-(slope * math.log(heat / (1 - heat)) + offset)))


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
    missing = [
        name
        for name in ("name", "version", "device_uid", "networks", "temperatures", "beliefs")
        if name not in card
    ]
    missing += [f"networks.{name}" for name in NETWORKS if name not in card.get("networks", {})]
    missing += [f"beliefs.{name}" for name in DETECTORS if name not in card.get("beliefs", {})]
    missing += [f"temperatures.{c}" for c in Condition if c not in card.get("temperatures", {})]
    if missing:
        raise BundleMismatch(f"{path} lacks {', '.join(missing)}")
    return card


def identity_of(card: Mapping[str, Any]) -> BundleIdentity:
    """The identity that a report carries: its hash covers every tensor file."""
    hashes = "\n".join(f"{n} {card['networks'][n]['sha256']}" for n in NETWORKS)
    return BundleIdentity(
        name=card["name"],
        version=card["version"],
        sha256=hashlib.sha256(hashes.encode()).hexdigest(),
        device_uid=card["device_uid"],
    )


def load_bundle(folder: Path | None = None, device: str = "auto") -> Bundle:
    """Load a bundle (the default one when `folder` is None) onto a device.

    `device` is auto, cpu, cuda or cuda:N. Raises `BundleMissing`, `BundleMismatch` when a
    file's hash or tensors are not what the card says, `BadSettings` for a device that is
    not there.
    """
    folder = folder or DEFAULT
    card = read_card(folder)
    target = choose_device(device)
    networks = {name: _network(folder, card["networks"][name], target) for name in NETWORKS}
    return Bundle(
        identity=identity_of(card),
        networks=MappingProxyType(networks),
        temperatures=MappingProxyType({c: float(card["temperatures"][c]) for c in Condition}),
        beliefs=MappingProxyType(
            {n: (float(slope), float(offset)) for n, (slope, offset) in card["beliefs"].items()}
        ),
        device=target,
        card=MappingProxyType(card),
    )


def choose_device(name: str) -> torch.device:
    """The torch device of a name; auto takes a GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BadSettings(f"unknown device {name!r}: use auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BadSettings(
            f"device {name!r} was asked for and there is no CUDA GPU: use auto or cpu"
        )
    return device


def _network(folder: Path, entry: Mapping[str, Any], device: torch.device) -> nn.Module:
    path = folder / entry["file"]
    if not path.is_file():
        raise BundleMissing(f"{path} is missing: reinstall the bundle")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != entry["sha256"]:
        raise BundleMismatch(
            f"{path} is not the file of its card: sha256 {found[:12]} instead of "
            f"{entry['sha256'][:12]}; reinstall the bundle"
        )
    if entry["architecture"] not in ARCHITECTURES:
        raise BundleMismatch(f"{path}: unknown architecture {entry['architecture']!r}")
    network = ARCHITECTURES[entry["architecture"]](entry["outputs"])
    try:
        network.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    except (RuntimeError, SafetensorError) as error:
        raise BundleMismatch(f"{path} does not fit {entry['architecture']}") from error
    return network.eval().to(device).to(memory_format=torch.channels_last)
