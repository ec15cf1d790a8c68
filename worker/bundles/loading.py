"""From a folder with a card to networks in memory, every tensor file checked by its hash."""

from __future__ import annotations

import hashlib
import json
import math
import re
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
from worker.errors import BadSettings, BundleMismatch, BundleMissing, DeviceBusy

LARGEST_BATCH: Final = 32
"""More crops at once are no faster on two cores and cost memory."""

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
        """The logits of one network for crops (batch, 1, height, width), on the CPU as float32.

        Raises `DeviceBusy` when the device is out of memory.
        """
        ready = crops.to(memory_format=torch.channels_last)
        try:
            with torch.inference_mode():
                parts = [
                    self.networks[network](part.to(self.device)).float().cpu()
                    for part in torch.split(ready, LARGEST_BATCH)
                ]
        except torch.OutOfMemoryError as error:
            raise DeviceBusy(f"{self.device} is out of memory") from error
        return torch.cat(parts)

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
    try:
        _check_values(card)
    except (TypeError, ValueError, KeyError) as error:
        raise BundleMismatch(f"{path} cannot be used: {error}") from error
    return card


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
    for detector in DETECTORS:
        slope, offset = card["beliefs"][detector]
        if not math.isfinite(slope) or not math.isfinite(offset):
            raise ValueError(f"beliefs.{detector} must be two numbers")


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
    decisive = {name: card[name] for name in ("networks", "temperatures", "beliefs")}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


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
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise BadSettings(f"unknown device {name!r}: use auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise BadSettings(f"device {name!r} was asked for among {count} CUDA GPUs: use auto or cpu")
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
