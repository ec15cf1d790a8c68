"""How many threads the networks use, and how idle ones wait.

Without a passive wait policy the threads of libgomp, which torch uses on Linux, spin while they
wait for work. Several processes that grade at once then take the cores from each other: three of
them on two cores took three times as long (`make bench`).
"""

from __future__ import annotations

import os


def wait_passively() -> None:
    """Let idle OpenMP threads sleep instead of spinning; call this before torch is imported.

    A policy that is already in the environment stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def threads_per_process(processes: int, setting: int = 0) -> int | None:
    """How many threads each of several processes uses; None to leave torch's own choice.

    `setting` overrides; without it OMP_NUM_THREADS does, else the usable cores are shared.
    """
    if setting:
        return setting
    if os.environ.get("OMP_NUM_THREADS"):
        return None
    return max(1, len(os.sched_getaffinity(0)) // max(1, processes))
