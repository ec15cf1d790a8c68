"""Runs cases in a separate process, and reports the start and the outcome of each.

A program: one JSON object a line on standard output. `watch` reads them. Hypothesis draws
and shrinks the cases here; a case that ends the process is known by its first line.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.support.fuzzing.cases import CASES, Case
from tests.support.fuzzing.networks import small_bundle
from tests.support.fuzzing.originals import KINDS, original
from tests.support.fuzzing.outcome import own_report, run_case
from worker.approaches import load_bundle

BRAKE_BYTES = 6 * 2**30
"""Limit of the memory of one runner."""


def main() -> None:
    """Draw cases, run them and report each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--shipped", action="store_true", help="the default bundle")
    options = parser.parse_args()
    output = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_DATA, (BRAKE_BYTES, BRAKE_BYTES))
    torch.set_num_threads(1)
    bundle = load_bundle(device="cpu") if options.shipped else small_bundle()
    for kind in KINDS:
        original(kind)
    own_report()
    gc.freeze()  # repeated collection of the imports takes half of the time

    def send(**message: object) -> None:
        output.write(json.dumps(message) + "\n")

    @seed(options.seed)
    @settings(
        max_examples=options.cases,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(CASES)
    def run(case: Case) -> None:
        send(begun=repr(case))
        Path("/proc/self/clear_refs").write_text("5")
        begun = time.process_time()
        outcome = run_case(case, bundle)
        send(ended=outcome, seconds=round(time.process_time() - begun, 3), peak_mb=peak_mb())

    try:
        run()
    except Exception:  # noqa: BLE001 - whatever it is, the watch is told
        send(failed=traceback.format_exc())
        sys.exit(1)


def peak_mb() -> int:
    """The most memory since the peak was last cleared (proc(5))."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


if __name__ == "__main__":
    main()
