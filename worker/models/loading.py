"""From a folder with a card to networks in memory, every tensor file checked by its hash."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dicom_sr.findings import BundleIdentity, Condition
from worker.errors import BadSettings, BundleMismatch, DeviceBusy
from worker.models.card import DEFAULT, NETWORKS, checked_file, identity_of, read_card
from worker.models.networks import ARCHITECTURES
from worker.models.studies import TrainingStudies, read_studies

_CPU: Final = torch.device("cpu")
_log = logging.getLogger(__name__)

LARGEST_BATCH: Final = 32
"""More crops at once are no faster on two cores and cost memory."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """The networks of a bundle on one device, their identity and their calibration.

    `networks` holds the members of each network: the same architecture, fitted with other
    studies kept out. `temperatures` divides the logits of each condition, after the
    training weights have been taken out. `beliefs` holds (slope, offset) for each
    detector, see `belief`. `abstain_below` is the probability of the likeliest grade under
    which a condition is not graded. `card` is the whole card as read, `studies` what was
    learnt from.
    """

    identity: BundleIdentity
    networks: Mapping[str, tuple[nn.Module, ...]]
    temperatures: Mapping[Condition, float]
    beliefs: Mapping[str, tuple[float, float]]
    abstain_below: Mapping[Condition, float]
    device: torch.device
    card: Mapping[str, Any]
    studies: TrainingStudies

    def run(self, network: str, crops: Tensor, members: Sequence[int] | None = None) -> Tensor:
        """The mean logits of a network's members for crops (batch, slices, height, width).

        On the CPU, as float32. `members` None asks all of them. A device that is out of
        memory gets smaller and smaller batches; then the CPU does it. Raises `DeviceBusy`
        when that is out of memory as well.
        """
        every = self.networks[network]
        asked = every if members is None else [every[n] for n in members]
        ready = crops.to(memory_format=torch.channels_last)
        batch = min(LARGEST_BATCH, max(1, len(ready)))
        while True:
            try:
                return _mean_logits(asked, ready, batch, self.device)
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
            if batch == 1:
                break
            batch = batch // 2
            _log.warning("%s is out of memory: batches of %d from here", self.device, batch)
        if self.device.type == "cpu":
            raise DeviceBusy("there is no memory left for a single crop")
        _log.warning("%s is out of memory: the CPU goes on", self.device)
        try:
            return _mean_logits([_on_cpu(member) for member in asked], ready, 1, _CPU)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            raise DeviceBusy(f"{self.device} and the CPU are out of memory") from error

    def belief(self, network: str, heat: float) -> float:
        """How probably a detector's point with this heat is right, both 0..1.

        A logistic curve over the logit of the heat, fitted on studies kept out of training.
        """
        slope, offset = self.beliefs[network]
        heat = min(max(heat, 1e-6), 1 - 1e-6)
        return 1 / (1 + math.exp(-(slope * math.log(heat / (1 - heat)) + offset)))


def load_bundle(folder: Path | None = None, device: str = "auto") -> Bundle:
    """Load a bundle (the default one when `folder` is None) onto a device.

    `device` is auto, cpu, cuda or cuda:N. Raises `BundleMissing`, `BundleMismatch` when a
    file's hash or tensors are not what the card says, `BadSettings` for a device that is
    not there.
    """
    folder = folder or DEFAULT
    card = read_card(folder)
    target = choose_device(device)
    networks = {
        name: tuple(
            _network(folder, card["networks"][name], member, target)
            for member in card["networks"][name]["members"]
        )
        for name in NETWORKS
    }
    return Bundle(
        identity=identity_of(card),
        networks=MappingProxyType(networks),
        temperatures=MappingProxyType({c: float(card["temperatures"][c]) for c in Condition}),
        beliefs=MappingProxyType(
            {n: (float(slope), float(offset)) for n, (slope, offset) in card["beliefs"].items()}
        ),
        abstain_below=MappingProxyType({c: float(card["abstain_below"][c]) for c in Condition}),
        device=target,
        card=MappingProxyType(card),
        studies=read_studies(folder, card),
    )


def _mean_logits(
    members: Sequence[Callable[[Tensor], Tensor]],
    crops: Tensor,
    batch: int,
    device: torch.device,
) -> Tensor:
    """The mean logits of members for crops (batch, slices, height, width), on the CPU."""
    with torch.inference_mode():
        parts = [
            torch.stack([member(part) for member in members]).float().mean(dim=0).cpu()
            for part in (p.to(device) for p in torch.split(crops, batch))
        ]
    return torch.cat(parts)


def _on_cpu(member: nn.Module) -> Callable[[Tensor], Tensor]:
    """The member as a function with its weights on the CPU; itself it stays where it is."""
    weights = {name: tensor.cpu() for name, tensor in member.state_dict().items()}
    return lambda crops: torch.func.functional_call(member, weights, (crops,))


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether torch found no memory; its allocator for the CPU has no type of its own for that."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "DefaultCPUAllocator" in str(error)


def device_of(name: str, child: int) -> str:
    """The device of a worker's child, counted from 0: unless one is numbered, GPUs take turns."""
    gpus = torch.cuda.device_count()
    return f"cuda:{child % gpus}" if name in ("auto", "cuda") and gpus > 1 else name


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


def _network(
    folder: Path, entry: Mapping[str, Any], member: Mapping[str, Any], device: torch.device
) -> nn.Module:
    path = checked_file(folder, member)
    if entry["architecture"] not in ARCHITECTURES:
        raise BundleMismatch(f"{path}: unknown architecture {entry['architecture']!r}")
    network = ARCHITECTURES[entry["architecture"]](entry["outputs"])
    try:
        network.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    except (RuntimeError, SafetensorError) as error:
        raise BundleMismatch(f"{path} does not fit {entry['architecture']}") from error
    return network.eval().to(device).to(memory_format=torch.channels_last)
