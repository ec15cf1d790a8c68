"""Average precision and recall of points, by COCO's definition for boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dicom_sr.findings import Level
from worker.evaluation.extras import extra
from worker.evaluation.predictions import PointPrediction, SagittalWeighting

SIDE: Final = 0.10
"""Side of the box around a point, in image widths; IoU 0.5 is an offset of a third of it."""

_PIXELS: Final = 1000.0
"""COCO's pixels per image width."""


def average_precision(
    rows: Sequence[PointPrediction],
) -> Mapping[Level | None, tuple[float | None, float | None]]:
    """(AP, AR) at IoU 0.50:0.95 of the points of one weighting, by level; None for all levels.

    Boxes of side `SIDE` are centred on found and marked points, with y scaled to widths by
    each image's aspect. Classes are the levels, scores the confidences, at most 100 points per
    image. A T1 slice shows more foramina than are annotated on it, so a point found at a level
    without a mark in its image is ignored: it counts neither as correct nor as wrong. Raises
    BadSettings if torchmetrics or pycocotools is not installed.
    """
    marked = {(row.file, row.level) for row in rows if row.truth is not None}
    if not marked:
        return {}
    scored = [
        row
        for row in rows
        if row.weighting is not SagittalWeighting.T1 or (row.file, row.level) in marked
    ]
    files: dict[str, list[PointPrediction]] = {}
    for row in scored:
        files.setdefault(row.file, []).append(row)
    extra("pycocotools.mask")
    metric = extra("torchmetrics.detection").MeanAveragePrecision(
        box_format="cxcywh", class_metrics=True, backend="pycocotools"
    )
    images = files.values()
    metric.update(
        [_boxes(rows_of_file, found=True) for rows_of_file in images],
        [_boxes(rows_of_file, found=False) for rows_of_file in images],
    )
    result = metric.compute()
    table: dict[Level | None, tuple[float | None, float | None]] = {
        None: (_known(result["map"]), _known(result["mar_100"]))
    }
    by_class = (result[name].reshape(-1) for name in ("map_per_class", "mar_100_per_class"))
    classes = result["classes"].reshape(-1)
    for k, ap, ar in zip(classes, *by_class, strict=True):
        table[list(Level)[int(k)]] = (_known(ap), _known(ar))
    return table


def _boxes(rows: Sequence[PointPrediction], *, found: bool) -> dict[str, Any]:
    import torch

    placed = [
        (row, place) for row in rows if (place := row.found if found else row.truth) is not None
    ]
    boxes = [(x, y * row.aspect, SIDE, SIDE) for row, (x, y) in placed]
    levels = [list(Level).index(row.level) for row, _ in placed]
    boxes_and_labels = {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4) * _PIXELS,
        "labels": torch.tensor(levels, dtype=torch.int64),
    }
    if found:
        boxes_and_labels["scores"] = torch.tensor([row.confidence for row, _ in placed])
    return boxes_and_labels


def _known(value: Any) -> float | None:  # noqa: ANN401  a tensor of torchmetrics
    """The value, or None: COCO writes -1 for an undefined value."""
    number = float(value)
    return None if number < 0 else number
