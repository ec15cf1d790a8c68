"""Writes a phantom as DICOM files and truth, in the layout of the RSNA 2024 challenge."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from dicom_sr.findings import TARGETS, Severity, Target
from worker.domain.study import Role
from worker.phantom.headers import image
from worker.phantom.study import Phantom, PhantomSeries

_RSNA_SERIES: Final = {
    Role.SAGITTAL_T1: "Sagittal T1",
    Role.SAGITTAL_T2: "Sagittal T2/STIR",
    Role.AXIAL_T2: "Axial T2",
}


def write_phantom(phantom: Phantom, folder: Path) -> None:
    """Write `train_images/STUDY/SERIES/INSTANCE.dcm`, `truth.json` and the challenge's tables.

    Study and series folders are named by UID. x and y of `train_label_coordinates.csv` are
    pixels from the edge of the image: the centre of the first pixel is at 0.5. The folder
    is created where it is missing.
    """
    for series in phantom.series:
        destination = (
            folder / "train_images" / phantom.study_instance_uid / series.series_instance_uid
        )
        destination.mkdir(parents=True, exist_ok=True)
        for index in range(len(series.pixels)):
            image(phantom, series, index).save_as(
                destination / f"{index + 1}.dcm", enforce_file_format=True
            )
    (folder / "truth.json").write_text(json.dumps(truth(phantom), indent=1) + "\n")
    write_tables(phantom, folder)


def truth(phantom: Phantom) -> dict[str, Any]:
    """The truth as plain data; the findings are named as in `report.json`."""
    return {
        "seed": phantom.seed,
        "mirrored": phantom.mirrored,
        "study_instance_uid": phantom.study_instance_uid,
        "series": [
            {
                "series_instance_uid": series.series_instance_uid,
                "series_description": series.acquisition.description,
                "role": series.role,
                "images": len(series.pixels),
            }
            for series in phantom.series
        ],
        "findings": [_finding(phantom, target) for target in TARGETS],
    }


def write_tables(phantom: Phantom, folder: Path) -> None:
    """Write train.csv, train_label_coordinates.csv and train_series_descriptions.csv."""
    study = phantom.study_instance_uid
    _write(
        folder / "train.csv",
        ("study_id", *(_column(target) for target in TARGETS)),
        [(study, *(phantom.severities[target].label for target in TARGETS))],
    )
    _write(
        folder / "train_label_coordinates.csv",
        ("study_id", "series_id", "instance_number", "condition", "level", "x", "y"),
        (_coordinate(phantom, target) for target in TARGETS),
    )
    _write(
        folder / "train_series_descriptions.csv",
        ("study_id", "series_id", "series_description"),
        ((study, s.series_instance_uid, _RSNA_SERIES[s.role]) for s in phantom.series),
    )


def _finding(phantom: Phantom, target: Target) -> dict[str, Any]:
    point = phantom.points[target]
    severity: Severity = phantom.severities[target]
    return {
        "condition": target.condition,
        "side": target.side,
        "level": target.level,
        "severity": severity,
        "point": {
            "series_instance_uid": point.image_point.image.series_instance_uid,
            "sop_instance_uid": point.image_point.image.sop_instance_uid,
            "instance_number": point.index + 1,
            "column": point.image_point.column,
            "row": point.image_point.row,
            "patient_mm": [round(value, 4) for value in point.patient_mm],
        },
    }


def _coordinate(phantom: Phantom, target: Target) -> tuple[str | int | float, ...]:
    point = phantom.points[target]
    series: PhantomSeries = next(
        s
        for s in phantom.series
        if s.series_instance_uid == point.image_point.image.series_instance_uid
    )
    condition = " ".join(filter(None, (target.side, target.condition.label))).title()
    return (
        phantom.study_instance_uid,
        series.series_instance_uid,
        point.index + 1,
        condition,
        target.level,
        # The challenge counts from the edge of the image, ImagePoint from the first pixel centre.
        point.image_point.column + 0.5,
        point.image_point.row + 0.5,
    )


def _column(target: Target) -> str:
    level = target.level.lower().replace("/", "_")
    return "_".join(filter(None, (target.side, target.condition, level)))


def _write(path: Path, header: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
