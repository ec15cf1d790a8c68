"""Run the networks of a bundle: members, batches, and smaller batches when memory is full."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from worker.errors import BundleMismatch, DeviceBusy
from worker.models.calibration import platt_scaled
from worker.models.card import Card, Member, NetworkEntry, PlattScaling, checked_file
from worker.models.networks import build_network

_CPU: Final = torch.device("cpu")
_log = logging.getLogger(__name__)

MAX_BATCH: Final = 32
"""Larger batches are no faster on two cores and cost memory."""

Step = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True, eq=False)
class TorchRunner:
    """The `Runner` of a bundle on one device.

    `networks` holds the members of each network: the same architecture, each trained without
    one fold. `platt_scaling` is that of each network of points. `on_step` is entered with the
    name of each step.
    """

    networks: Mapping[str, tuple[nn.Module, ...]]
    platt_scaling: Mapping[str, PlattScaling]
    device: torch.device
    on_step: Step = field(default=lambda _: nullcontext())

    def run(self, network: str, inputs: Tensor) -> Tensor:
        """The mean output of a network's members for inputs (batch, slices, height, width).

        On the CPU, as float32. A device that is out of memory gets smaller and smaller batches;
        then the CPU is used. Raises `DeviceBusy` when that is out of memory as well.
        """
        members = self.networks[network]
        ready = inputs.to(memory_format=torch.channels_last)
        batch = min(MAX_BATCH, max(1, len(ready)))
        while True:
            try:
                return _mean_output(members, ready, batch, self.device)
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
            if batch == 1:
                break
            batch = batch // 2
            _log.warning("%s: out of memory, continuing with batches of %d", self.device, batch)
        if self.device.type == "cpu":
            raise DeviceBusy("cpu: out of memory for a single crop")
        _log.warning("%s: out of memory, continuing on the CPU", self.device)
        try:
            return _mean_output([_on_cpu(member) for member in members], ready, 1, _CPU)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            raise DeviceBusy(f"{self.device} and cpu: out of memory") from error

    def platt(self, network: str, score: float) -> float:
        """The probability that a point with this score is right, both 0..1."""
        scaling = self.platt_scaling.get(network)
        return score if scaling is None else platt_scaled(score, scaling.slope, scaling.offset)

    def step(self, name: str) -> AbstractContextManager[None]:
        """Report the body as a step of this name."""
        return self.on_step(name)

    def observed(self, on_step: Step) -> TorchRunner:
        """The same runner; its steps are reported to `on_step`."""
        return replace(self, on_step=on_step)

    def only(self, members: Mapping[str, Sequence[int]]) -> TorchRunner:
        """The same runner with these members alone of the networks named."""
        chosen = {
            network: tuple(self.networks[network][n] for n in numbers)
            for network, numbers in members.items()
        }
        return replace(self, networks=MappingProxyType({**self.networks, **chosen}))


def load_runner(folder: Path, card: Card, device: torch.device) -> TorchRunner:
    """Load the networks of a card, every tensor file checked by its hash.

    Raises `BundleMissing` or `BundleMismatch`.
    """
    return TorchRunner(
        networks=MappingProxyType(
            {
                name: tuple(_load(folder, name, entry, member, device) for member in entry.members)
                for name, entry in card.networks.items()
            }
        ),
        platt_scaling=MappingProxyType(
            {
                name: entry.platt_scaling
                for name, entry in card.networks.items()
                if entry.platt_scaling is not None
            }
        ),
        device=device,
    )


def _load(
    folder: Path, name: str, entry: NetworkEntry, member: Member, device: torch.device
) -> nn.Module:
    path = checked_file(folder, member.file, member.sha256)
    try:
        network = build_network(entry.architecture, len(entry.heads), entry.kwargs)
    except ValueError as error:
        raise BundleMismatch(f"{folder}: networks.{name}: {error}") from error
    try:
        network.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    except (RuntimeError, SafetensorError) as error:
        raise BundleMismatch(f"{path} does not fit {entry.architecture}") from error
    return network.eval().to(device).to(memory_format=torch.channels_last)


def _mean_output(
    members: Sequence[Callable[[Tensor], Tensor]],
    inputs: Tensor,
    batch: int,
    device: torch.device,
) -> Tensor:
    """The mean output of members for inputs (batch, slices, height, width), on the CPU."""
    with torch.inference_mode():
        parts = [
            torch.stack([member(part) for member in members]).float().mean(dim=0).cpu()
            for part in (p.to(device) for p in torch.split(inputs, batch))
        ]
    return torch.cat(parts)


def _on_cpu(member: nn.Module) -> Callable[[Tensor], Tensor]:
    """The member as a function with its weights on the CPU; the member stays where it is."""
    weights = {name: tensor.cpu() for name, tensor in member.state_dict().items()}
    return lambda inputs: torch.func.functional_call(member, weights, (inputs,))


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether torch found no memory; its allocator for the CPU has no exception type of its own."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "DefaultCPUAllocator" in str(error)
