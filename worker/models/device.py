"""Which device the networks run on."""

from __future__ import annotations

import re

import torch

from worker.errors import BadSettings


def choose_device(name: str) -> torch.device:
    """The torch device of a name: auto, cpu, cuda or cuda:N; auto takes a GPU where there is one.

    Raises `BadSettings` for another name, and for a GPU that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise BadSettings(f"unknown device {name!r}: use auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise BadSettings(f"device {name!r}: {count} CUDA GPUs found, use auto or cpu")
    return device


def device_of(name: str, child: int) -> str:
    """The device of a worker's child, counted from 0: unless one is numbered, GPUs take turns."""
    gpus = torch.cuda.device_count()
    return f"cuda:{child % gpus}" if name in ("auto", "cuda") and gpus > 1 else name
