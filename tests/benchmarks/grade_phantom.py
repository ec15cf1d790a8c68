"""Time per step and peak memory for a phantom of about 100 slices: `make bench`.

Run as a program. The first study is the cold one (models load, kernels are chosen); the
figures are the median of the warm ones.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from worker.threads import wait_passively


def main() -> None:
    """Print one table of medians and what they were measured on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="warm studies to measure")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    options = parser.parse_args()
    console = Console()
    wait_passively()
    begun = time.perf_counter()
    import torch

    from worker.approaches import load_bundle
    from worker.archive.folder import FolderArchive
    from worker.phantom.study import make_phantom
    from worker.phantom.writing import write_phantom
    from worker.pipeline import grade
    from worker.report.structured import structured_report

    bundle = load_bundle(device=options.device)
    start_ms = (time.perf_counter() - begun) * 1000
    with tempfile.TemporaryDirectory() as folder:
        phantom = make_phantom(7)
        write_phantom(phantom, Path(folder))
        slices = sum(len(series.sop_instance_uids) for series in phantom.series)
        steps: dict[str, list[float]] = {}
        totals: list[float] = []
        for run in track(range(options.runs + 1), "Grading", console=console, transient=True):
            begun = time.perf_counter()
            graded = grade(folder, FolderArchive(), bundle)
            reported = time.perf_counter()
            structured_report(graded)
            ended = time.perf_counter()
            if run == 0:
                cold_ms = (ended - begun) * 1000
                continue
            totals.append((ended - begun) * 1000)
            for name, taken in {**graded.timings_ms, "report": (ended - reported) * 1000}.items():
                steps.setdefault(name, []).append(taken)
    table = Table("step", "median ms", title=f"{slices} slices, {len(graded.report.graded)} graded")
    for name, taken in steps.items():
        table.add_row(name, f"{statistics.median(taken):.0f}")
    table.add_section()
    table.add_row("study, warm", f"{statistics.median(totals):.0f}")
    table.add_row("study, first", f"{cold_ms:.0f}")
    table.add_row("imports and bundle", f"{start_ms:.0f}")
    console.print(table)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    console.print(
        f"peak memory {peak_gb:.2f} GB; {bundle.runner.device}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}; median of {options.runs} warm studies"
    )


if __name__ == "__main__":
    main()
