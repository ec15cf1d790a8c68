"""Time to route 30 series of 1,000 instances from their headers.

Run as a program. Headers are made in memory: reading files or asking an archive is not
part of the figure. No pixel exists that could be read.
"""

from __future__ import annotations

import argparse
import statistics
import time

from pydicom import Dataset
from pydicom.uid import MRImageStorage
from rich.console import Console
from rich.table import Table

from worker.intake.headers import read_study
from worker.intake.routing import route
from worker.nouns.study import Instance

PLANES = ((0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1))
DESCRIPTIONS = ("t2_tse_sag", "t1_tse_sag", "t2_tse_tra", "STIR sag", "localizer", "T1 +C", "DWI")


def main() -> None:
    """Print the median time of each step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=30)
    parser.add_argument("--instances", type=int, default=1000, help="of each series")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    instances = [
        Instance(f"{series}/{index}", header(series, index))
        for series in range(options.series)
        for index in range(options.instances)
    ]
    taken: dict[str, list[float]] = {"headers to study": [], "routing": []}
    for _ in range(options.runs):
        begun = time.perf_counter()
        study = read_study(instances)
        read = time.perf_counter()
        routed = route(study)
        ended = time.perf_counter()
        taken["headers to study"].append(read - begun)
        taken["routing"].append(ended - read)
    counts = f"{options.series} series of {options.instances} instances"
    table = Table("step", "median s", title=f"{counts}, {len(routed.routed)} routed")
    for step, times in taken.items():
        table.add_row(step, f"{statistics.median(times):.3f}")
    Console().print(table)


def header(series: int, index: int) -> Dataset:
    """One header of one series; planes and descriptions take turns."""
    plane = PLANES[series % len(PLANES)]
    step = index * 0.1
    made = Dataset()
    made.SOPClassUID, made.Modality = MRImageStorage, "MR"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3", f"1.2.3.{series + 1}"
    made.SOPInstanceUID = f"1.2.3.{series + 1}.{index + 1}"
    made.FrameOfReferenceUID, made.PatientPosition = f"1.2.4.{series % 2 + 1}", "HFS"
    made.InstanceNumber = index + 1
    made.ImageOrientationPatient = list(plane)
    made.ImagePositionPatient = [-40 + step, -90 + step, 60 - step]
    made.PixelSpacing, made.Rows, made.Columns = [0.7, 0.7], 384, 384
    made.SeriesDescription = DESCRIPTIONS[series % len(DESCRIPTIONS)]
    return made


if __name__ == "__main__":
    main()
