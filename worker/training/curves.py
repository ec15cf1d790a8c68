"""The metrics that a run logged: kept when it is resumed, and drawn as curves."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from pathlib import Path


def put_aside(metrics: Path) -> None:
    """Keep the metrics of an interrupted run: Lightning overwrites its metrics.csv."""
    if metrics.exists():
        metrics.rename(metrics.with_suffix(f".{len(_aside(metrics)):03}.csv"))


def join_metrics(metrics: Path) -> None:
    """Join the parts of metrics.csv; of steps that were done twice the last is kept."""
    parts = [*_aside(metrics), *([metrics] if metrics.exists() else [])]
    records: list[dict[str, str]] = []
    for part in parts:
        with part.open(newline="", encoding="utf-8") as file:
            later = list(csv.DictReader(file))
        begin = int(later[0]["step"]) if later else math.inf
        records = [r for r in records if int(r["step"]) < begin] + later
    names = dict.fromkeys(name for record in records for name in record)
    half = metrics.with_suffix(".half")
    with half.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(names), restval="")
        writer.writeheader()
        writer.writerows(records)
    half.replace(metrics)
    for part in parts:
        if part != metrics:
            part.unlink()


def _aside(metrics: Path) -> list[Path]:
    return sorted(metrics.parent.glob(f"{metrics.stem}.*{metrics.suffix}"))


def draw_curves(metrics: Path, picture: Path) -> None:
    """Draw every logged figure over the steps, training and validation loss in one frame."""
    import matplotlib.figure  # heavy, and only training wants it

    lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with metrics.open(newline="", encoding="utf-8") as file:
        for record in csv.DictReader(file):
            for name, value in record.items():
                if value and name not in {"epoch", "step"}:
                    lines[name].append((float(record["step"]), float(value)))
    losses = [name for name in lines if name.endswith("loss")]
    frames = [losses, *([name] for name in lines if name not in losses)]
    figure = matplotlib.figure.Figure(figsize=(5 * len(frames), 3.6), layout="constrained")
    for frame, names in zip(figure.subplots(1, len(frames), squeeze=False)[0], frames, strict=True):
        for name in names:
            frame.plot(*zip(*lines[name], strict=True), label=name.replace("_", " "))
        frame.set_xlabel("step")
        frame.legend(frameon=False)
        frame.grid(alpha=0.3)
        frame.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, dpi=110)
