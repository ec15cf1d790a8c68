"""The files of an evaluation: predictions.csv, metrics.json and index.html."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from dicom_sr.findings import Severity
from worker.evaluation.metrics_json import as_json
from worker.evaluation.page import page
from worker.evaluation.predictions import GradePrediction, PointPrediction
from worker.evaluation.results import Evaluation, RunInfo
from worker.evaluation.scores import weighted

GRADE_COLUMNS: Final = (
    *("file", "condition", "side", "level"),
    *(severity.value for severity in Severity),
)
POINT_COLUMNS: Final = ("file", "level", "x_fraction", "y_fraction", "confidence")


@dataclass(frozen=True)
class Written:
    """Where the files of an evaluation lie; `points` is None unless there are grades, too."""

    predictions: Path
    points: Path | None
    metrics: Path
    page: Path


def write_evaluation(evaluation: Evaluation, about: RunInfo, out: Path) -> Written:
    """Write predictions.csv, metrics.json and index.html into `out`, replacing older ones.

    Of whole studies there are both grades and points: the points are then in
    predictions_levels.csv. Raises OSError, and BadSettings where matplotlib is absent.
    """
    out.mkdir(parents=True, exist_ok=True)
    predictions, points = out / "predictions.csv", None
    if evaluation.grades is not None:
        write_grades(evaluation.grades.rows, predictions)
    if evaluation.points is not None:
        points = out / "predictions_levels.csv" if evaluation.grades is not None else None
        write_points(evaluation.points.rows, points or predictions)
    written = Written(predictions, points, out / "metrics.json", out / "index.html")
    metrics = json.dumps(as_json(evaluation, about), indent=2, ensure_ascii=False)
    written.metrics.write_text(metrics + "\n", encoding="utf-8")
    written.page.write_text(page(evaluation, about), encoding="utf-8")
    return written


def write_grades(rows: Sequence[GradePrediction], file: Path) -> None:
    """Write grades in the challenge's weighted probabilities, labelled or not, 6 decimals."""
    posterior = [[row.posterior.of(severity) for severity in Severity] for row in rows]
    table = weighted(np.array(posterior).reshape(-1, len(Severity)))
    _write(
        file,
        GRADE_COLUMNS,
        (
            (
                row.file,
                row.target.condition.value,
                "" if row.target.side is None else row.target.side.value,
                row.target.level.value,
                *(f"{value:.6f}" for value in values),
            )
            for row, values in zip(rows, table, strict=True)
        ),
    )


def write_points(rows: Sequence[PointPrediction], file: Path) -> None:
    """Write one row for each level that was found, marked or not."""
    found = ((row, row.found) for row in rows if row.found is not None)
    _write(
        file,
        POINT_COLUMNS,
        (
            (row.file, row.level.value, *(f"{v:.6f}" for v in (*place, row.confidence)))
            for row, place in found
        ),
    )


def _write(file: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
