"""Processor time to route 30 series from their headers: of 1,000 instances in all, and each.

Run as a program. Headers are made in memory: reading files or asking an archive is not
part of the figure. No pixel exists that could be read.
"""

from __future__ import annotations

import argparse
import time

from pydicom import Dataset
from pydicom.uid import MRImageStorage
from rich.console import Console
from rich.table import Table

from worker.domain.study import Instance
from worker.intake.headers import read_study
from worker.intake.routing import route

PLANES = ((0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1))
DESCRIPTIONS = ("t2_tse_sag", "t1_tse_sag", "t2_tse_tra", "STIR sag", "localizer", "T1 +C", "DWI")


def main() -> None:
    """Print one row for each size of a study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=30)
    parser.add_argument(
        "--instances", type=int, nargs="+", default=[34, 1000], help="of each series; repeatable"
    )
    options = parser.parse_args()
    table = Table("series", "instances of each", "headers to study, s", "routing, s", "routed")
    for count in options.instances:
        made = [
            Instance(f"{series}/{index}", header(series, index))
            for series in range(options.series)
            for index in range(count)
        ]
        begun = time.process_time()
        study = read_study(made)
        read = time.process_time()
        routed = route(study)
        ended = time.process_time()
        times = f"{read - begun:.2f}", f"{ended - read:.2f}"
        table.add_row(str(options.series), str(count), *times, str(len(routed.routed)))
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
