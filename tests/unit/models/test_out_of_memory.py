"""Out of memory: smaller batches, then the CPU, then another try later."""

from dataclasses import replace

import pytest
import torch

from worker.errors import DeviceBusy
from worker.models import device, runner

NETWORK = "foraminal_grades"


@pytest.fixture
def crops(untrained):
    """Nine crops, as that network takes them."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(9, 3, 64, 64, generator=generator)


@pytest.fixture
def full(monkeypatch):
    """Makes devices fail: `full(cuda=4, cpu=2)` has room there for batches of 4 and of 2."""
    real = runner._mean_output
    seen = []

    def install(**room):
        def limited(members, crops, batch, target):
            seen.append((target.type, batch))
            if batch > room[target.type]:
                # What the allocator for the CPU raises has no type of its own.
                kind = torch.OutOfMemoryError if target.type == "cuda" else RuntimeError
                raise kind("DefaultCPUAllocator: can't allocate memory")
            return real(members, crops, batch, torch.device("cpu"))

        monkeypatch.setattr(runner, "_mean_output", limited)
        return seen

    return install


@pytest.mark.parametrize(
    "room", [{"cuda": 4, "cpu": 9}, {"cuda": 1, "cpu": 9}, {"cuda": 0, "cpu": 9}]
)
def test_the_same_logits_with_less_memory(untrained, crops, full, room):
    """However little memory the GPU has left, the result is the one of plenty."""
    plenty = untrained.runner.run(NETWORK, crops)
    full(**room)
    scarce = replace(untrained.runner, device=torch.device("cuda")).run(NETWORK, crops)
    assert torch.allclose(plenty, scarce, atol=1e-4)


def test_it_steps_down_before_it_leaves_the_gpu(untrained, crops, full):
    """Batches are halved down to one crop; then the CPU runs it."""
    seen = full(cuda=0, cpu=9)
    replace(untrained.runner, device=torch.device("cuda")).run(NETWORK, crops)
    assert seen == [("cuda", 9), ("cuda", 4), ("cuda", 2), ("cuda", 1), ("cpu", 1)]


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_no_memory_anywhere_is_tried_again_later(untrained, crops, full, name):
    """Where not even one crop fits, the study waits."""
    full(cuda=0, cpu=0)
    with pytest.raises(DeviceBusy):
        replace(untrained.runner, device=torch.device(name)).run(NETWORK, crops)


def test_another_error_is_not_taken_for_it(untrained):
    """A crop of the wrong shape is a programming error, not a lack of memory."""
    with pytest.raises(RuntimeError):
        untrained.runner.run(NETWORK, torch.zeros(1, 7, 64, 64))


@pytest.mark.parametrize(
    ("name", "gpus", "devices"),
    [
        ("auto", 2, ["cuda:0", "cuda:1", "cuda:0"]),
        ("cuda", 2, ["cuda:0", "cuda:1", "cuda:0"]),
        ("cuda:1", 2, ["cuda:1", "cuda:1", "cuda:1"]),
        ("auto", 1, ["auto", "auto", "auto"]),
        ("cpu", 2, ["cpu", "cpu", "cpu"]),
    ],
)
def test_children_share_the_gpus(monkeypatch, name, gpus, devices):
    """Each child has one GPU, and as many children as GPUs use them all."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert [device.device_of(name, child) for child in range(3)] == devices
