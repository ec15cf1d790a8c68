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
from worker.evaluation.evaluation_page import evaluation_page
from worker.evaluation.metrics_json import as_json
from worker.evaluation.predictions import GradePrediction, PointPrediction
from worker.evaluation.results import Evaluation, RunInfo
from worker.evaluation.scores import weighted

GRADE_COLUMNS: Final = (
    *("file", "condition", "side", "level"),
    *(severity.value for severity in Severity),
)
POINT_COLUMNS: Final = ("file", "level", "x_fraction", "y_fraction", "confidence")


@dataclass(frozen=True)
class EvaluationFiles:
    """The paths of an evaluation's files; `points` is None unless there are also grades."""

    predictions: Path
    points: Path | None
    metrics: Path
    page: Path


def write_evaluation(evaluation: Evaluation, run: RunInfo, out: Path) -> EvaluationFiles:
    """Write predictions.csv, metrics.json and index.html into `out`, replacing older ones.

    An evaluation of whole studies has both grades and points; its points are written to
    predictions_levels.csv. Raises OSError, and BadSettings if matplotlib is missing.
    """
    out.mkdir(parents=True, exist_ok=True)
    predictions, points = out / "predictions.csv", None
    if evaluation.grades is not None:
        write_grades(evaluation.grades.rows, predictions)
    if evaluation.points is not None:
        points = out / "predictions_levels.csv" if evaluation.grades is not None else None
        write_points(evaluation.points.rows, points or predictions)
    written = EvaluationFiles(predictions, points, out / "metrics.json", out / "index.html")
    metrics = json.dumps(as_json(evaluation, run), indent=2, ensure_ascii=False)
    written.metrics.write_text(metrics + "\n", encoding="utf-8")
    written.page.write_text(evaluation_page(evaluation, run), encoding="utf-8")
    return written


def write_grades(rows: Sequence[GradePrediction], file: Path) -> None:
    """Write all grades as the challenge's weighted probabilities with 6 decimals."""
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
    """Write one row for each detected level, marked or not."""
    detected = ((row, row.found) for row in rows if row.found is not None)
    _write(
        file,
        POINT_COLUMNS,
        (
            (row.file, row.level.value, *(f"{v:.6f}" for v in (*point, row.confidence)))
            for row, point in detected
        ),
    )


def _write(file: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
