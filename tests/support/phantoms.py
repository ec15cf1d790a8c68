"""Phantoms that several tests of one process share: each is rendered once."""

from __future__ import annotations

from functools import cache

from worker.phantom import SMALL, Phantom, SliceCounts, make_phantom

TINY = SliceCounts(7, 5, 10)
"""The smallest study that shows every target."""


@cache
def shared_phantom(seed: int, slices: SliceCounts = SMALL) -> Phantom:
    """A phantom with severities drawn from its seed; it must not be changed."""
    return make_phantom(seed, slices=slices)
