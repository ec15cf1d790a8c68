"""Seconds per study when one, two or three processes grade at once: `make bench`.

Every process grades the same phantom with the packaged bundle, warm, at the same time as the
others. Compared in one run: torch's defaults, idle threads that sleep (OMP_WAIT_POLICY=PASSIVE,
what every command sets), and that with the cores shared among the processes (what the worker
sets).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

CORES = len(os.sched_getaffinity(0))
COUNTS = (1, 2, 3)
MODES = ("torch's defaults", "passive wait", "passive wait, cores shared")


def environment(mode: str, processes: int) -> dict[str, str]:
    """The variables of a mode."""
    kept = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS")}
    if mode == MODES[0]:
        return kept
    passive = {**kept, "OMP_WAIT_POLICY": "PASSIVE"}
    if mode == MODES[1]:
        return passive
    return {**passive, "OMP_NUM_THREADS": str(max(1, CORES // processes))}


def grade_many(study: Path, start: Path, runs: int) -> None:
    """In a process of its own: load, grade once, wait for the others, and time the rest."""
    from worker.approaches import load_bundle
    from worker.archive.folder import FolderArchive
    from worker.pipeline import grade

    bundle = load_bundle(device="cpu")
    grade(str(study), FolderArchive(), bundle)
    start.with_name(f"ready-{os.getpid()}").touch()
    while not start.exists():
        time.sleep(0.01)
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        grade(str(study), FolderArchive(), bundle)
        times.append(time.perf_counter() - began)
    print(statistics.median(times))


def measure(study: Path, mode: str, processes: int, runs: int) -> float:
    """The median over the processes of their median seconds per study."""
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start"
        command = [sys.executable, __file__, "--child", str(study), "--start", str(start)]
        children = [
            subprocess.Popen(
                [*command, "--runs", str(runs)],
                env=environment(mode, processes),
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(processes)
        ]
        while len(list(Path(folder).glob("ready-*"))) < processes:
            if any(child.poll() is not None for child in children):
                raise SystemExit("a grading process ended early; see its error above")
            time.sleep(0.05)
        start.touch()
        return statistics.median(float(child.communicate()[0]) for child in children)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="studies that each process grades")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        grade_many(options.child, options.start, options.runs)
        return
    from worker.phantom.study import make_phantom
    from worker.phantom.writing import write_phantom

    console = Console()
    table = Table("processes", *(f"{mode}, s" for mode in MODES), "ratio")
    with tempfile.TemporaryDirectory() as folder:
        write_phantom(make_phantom(7), Path(folder))
        cases = [(count, mode) for count in COUNTS for mode in MODES]
        seconds = {
            case: measure(Path(folder), case[1], case[0], options.runs)
            for case in track(cases, "Grading", console=console, transient=True)
        }
    for count in COUNTS:
        row = [seconds[count, mode] for mode in MODES]
        table.add_row(str(count), *(f"{value:.2f}" for value in row), f"{row[-1] / row[0]:.2f}")
    console.print(table)
    console.print(f"{CORES} cores; median of {options.runs} warm studies for each process")


if __name__ == "__main__":
    main()
