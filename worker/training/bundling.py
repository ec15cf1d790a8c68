"""From fitted members to a bundle: calibrated, and measured on what no member has seen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfile
from typing import Any, Final

import numpy as np
import structlog

from dicom_sr import uids
from dicom_sr.findings import Condition
from worker.datasets.folds import fold_of
from worker.evaluation import sources
from worker.evaluation.evaluate import evaluate
from worker.evaluation.out_of_fold import only
from worker.evaluation.predictions import GradeSheet, PointSheet
from worker.evaluation.results import Estimate, Evaluation, Task
from worker.models.card import CARD, DETECTORS, content_hash, to_toml
from worker.models.loading import Bundle, load_bundle
from worker.models.studies import training_studies, write_studies
from worker.training.axial_detections import Detections, detect_axial
from worker.training.calibration import (
    NEUTRAL_BELIEF,
    NEUTRAL_TEMPERATURE,
    RIGHT_WITHIN,
    abstention,
    at_temperature,
    fit_belief,
    fit_temperature,
)
from worker.training.data import AXIAL, T1, T2, TrainingData
from worker.training.members import OUTPUTS, PHANTOM, Workshop, train
from worker.training.model_card import to_markdown
from worker.training.recipe import Recipe
from worker.training.samples import PointSet

log = structlog.get_logger()

LICENCE: Final = "CC-BY-NC-4.0: non-commercial research use only, as the training data"


@dataclass(frozen=True, eq=False)
class Unseen:
    """What a bundle says of the studies that its members have not seen; None without data."""

    foraminal: GradeSheet | None
    axial: GradeSheet | None
    t1: PointSheet | None
    t2: PointSheet | None
    recesses: Detections | None


def make_bundle(
    data: TrainingData,
    out: Path,
    workshop: Workshop,
    recipes: Mapping[str, Recipe],
    *,
    name: str = "default",
) -> dict[str, Any]:
    """Train what is not trained yet, calibrate, and write a bundle; returns its card."""
    files: dict[str, list[Path]] = {}
    studies: set[str] = set()
    for network, recipe in recipes.items():
        files[network], seen = train(recipe, data, workshop)
        studies |= seen
    card = assemble(out, files, recipes, studies, name)
    bundle = load_bundle(out, workshop.device)
    unseen = predict_unseen(bundle, data, recipes["axial_points"])
    return finish(out, card, unseen)


def assemble(
    out: Path,
    files: Mapping[str, list[Path]],
    recipes: Mapping[str, Recipe],
    studies: set[str],
    name: str,
) -> dict[str, Any]:
    """Put the members' files into a folder with a card that calibrates nothing yet."""
    out.mkdir(parents=True, exist_ok=True)
    networks: dict[str, Any] = {}
    for network in sorted(files):
        recipe = recipes[network]
        members = []
        for fold, file in zip(recipe.held_out, files[network], strict=True):
            copyfile(file, out / file.name)
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            members.append({"file": file.name, "sha256": digest, "held_out": fold})
        networks[network] = {
            "architecture": recipe.architecture,
            "outputs": OUTPUTS[network],
            "folds": recipe.folds,
            "members": members,
        }
    card = {
        "name": name,
        "version": datetime.now(UTC).strftime("%Y.%m.%d"),
        "licence": LICENCE,
        "networks": networks,
        "beliefs": {network: list(NEUTRAL_BELIEF) for network in DETECTORS},
        "temperatures": {condition.value: NEUTRAL_TEMPERATURE for condition in Condition},
        "abstain_below": {condition.value: 0.0 for condition in Condition},
        "training_studies": write_studies(training_studies(studies), out),
    }
    return _write(out, card)


def predict_unseen(bundle: Bundle, data: TrainingData, axial_points: Recipe) -> Unseen:
    """Everything that the members of a bundle say of the studies they have not seen."""
    folder = data.folder

    def sheet(name: str, read: Any) -> Any:  # noqa: ANN401 - either kind of sheet
        if folder is None or not (folder / name).is_dir():
            return None
        log.info("predicting what was kept out", data=name)
        return read(folder / name, bundle, lambda _done, _total: None)

    held_out = axial_points.held_out[0]
    first = only(bundle, {"axial_points": (0,)})  # the one member that has not seen that fold
    samples = data.samples(axial_points)
    assert isinstance(samples, PointSet)
    kept_out = samples.where(
        lambda s: not s.startswith(PHANTOM) and fold_of(s, axial_points.folds) == held_out
    )
    return Unseen(
        foraminal=sheet(T1, sources.foraminal),
        axial=sheet(AXIAL, sources.axial),
        t1=sheet(T1, sources.levels),
        t2=sheet(T2, sources.levels),
        recesses=detect_axial(first, kept_out) if len(kept_out) else None,
    )


def finish(out: Path, card: Mapping[str, Any], unseen: Unseen) -> dict[str, Any]:
    """Calibrate an assembled bundle on what its members have not seen, and write its card."""
    temperatures, below = dict(card["temperatures"]), dict(card["abstain_below"])
    beliefs: dict[str, Any] = dict(card["beliefs"])
    figures: dict[str, Any] = {}
    for task, sheet in ((Task.FORAMINAL, unseen.foraminal), (Task.AXIAL, unseen.axial)):
        if sheet is None:
            continue
        calibrated: list[Any] = []
        for condition in Condition:
            rows = [row for row in sheet.rows if row.target.condition is condition]
            known = [row for row in rows if row.truth is not None]
            if known:
                temperatures[condition.value] = fit_temperature(known)
                warm = at_temperature(known, temperatures[condition.value])
                below[condition.value] = abstention(warm)
                calibrated += warm
        evaluation = evaluate(task, replace(sheet, rows=tuple(calibrated)))
        figures |= _grade_figures(evaluation)
    for points in (unseen.t1, unseen.t2):
        if points is not None:
            figures |= _point_figures(evaluate(Task.LEVELS, points=points))
    if unseen.t1 is not None:
        beliefs["sagittal_points"] = list(_belief_of(unseen.t1))
    if unseen.recesses is not None:
        beliefs["axial_points"] = list(fit_belief(unseen.recesses.heats, unseen.recesses.errors))
        figures["axial_points"] = _detection_figures(unseen.recesses)
    calibrated_card = {
        **card,
        "temperatures": temperatures,
        "abstain_below": below,
        "beliefs": beliefs,
        "figures": figures,
    }
    return _write(out, calibrated_card)


def _write(out: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    whole = {**card, "device_uid": uids.device_uid(content_hash(card))}
    (out / CARD).write_text(to_toml(whole), encoding="utf-8")
    if "figures" in whole:
        (out / "README.md").write_text(to_markdown(whole), encoding="utf-8")
    return whole


def _belief_of(sheet: PointSheet) -> tuple[float, float]:
    rows = [row for row in sheet.rows if row.error is not None]
    heats = np.array([row.confidence for row in rows])
    return fit_belief(heats, np.array([row.error for row in rows], dtype=np.float64))


def _grade_figures(evaluation: Evaluation) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for group in evaluation.grade_groups:
        measured = _measured(group.metrics)
        measured |= {
            f"{name}_{severity}": figure
            for severity, classes in group.classes.items()
            for name, figure in _measured(classes).items()
        }
        if group.level is not None:
            levels = figures[group.condition.value]["levels"]
            levels[group.level.value] = {"n": group.n, "counts": list(group.counts), **measured}
            continue
        figures[group.condition.value] = {
            "n": group.n,
            "studies": group.studies,
            "counts": list(group.counts),
            "confusion": [list(row) for row in group.confusion],
            **measured,
            "coverage_accuracy": [
                [round(c.coverage, 3), round(c.accuracy, 4)] for c in _tenths(group.curves.coverage)
            ],
            "levels": {},
        }
    return figures


def _point_figures(evaluation: Evaluation) -> dict[str, Any]:
    return {
        f"levels_{group.weighting.value}": {
            "n": group.n,
            "studies": group.studies,
            **_measured(group.metrics),
        }
        for group in evaluation.point_groups
        if group.level is None
    }


def _detection_figures(found: Detections) -> dict[str, Any]:
    return {
        "n": len(found.errors),
        "median_error": [round(float(np.median(found.errors)), 4)],
        "right": [round(float((found.errors < RIGHT_WITHIN).mean()), 4)],
    }


def _measured(figures: Mapping[str, Estimate]) -> dict[str, list[float]]:
    """Figures as [value, low, high], those that could be computed."""
    return {
        name: [round(v, 4) for v in (f.value, f.low, f.high) if v is not None]
        for name, f in figures.items()
        if f.value is not None
    }


def _tenths(curve: Any) -> list[Any]:  # noqa: ANN401 - a sequence of Coverage
    """About ten points of a curve, the ends included."""
    chosen = np.unique(np.linspace(0, len(curve) - 1, min(11, len(curve))).round().astype(int))
    return [curve[n] for n in chosen]
