"""From trained members to a bundle: calibrated and measured out of fold."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfile
from typing import Any, Final, TypeVar

import numpy as np
import structlog

from dicom_sr.findings import CURRENT_TARGET_SET, Condition
from worker.approaches import load_bundle, read_identity
from worker.datasets.folds import fold_of
from worker.evaluation import sources
from worker.evaluation.evaluate import evaluate
from worker.evaluation.out_of_fold import only
from worker.evaluation.predictions import GradePrediction, GradeSheet, PointSheet
from worker.evaluation.results import Task
from worker.localise.heatmaps.windows import AXIAL as AXIAL_NETWORK
from worker.localise.heatmaps.windows import SAGITTAL as SAGITTAL_NETWORK
from worker.models.bundle import Bundle, resolved
from worker.models.card import (
    ApproachEntry,
    CalibrationEntry,
    Card,
    DecisionEntry,
    Member,
    NetworkEntry,
    PlattScaling,
    write_card,
)
from worker.models.seam import Approach, NetworkSpec
from worker.models.studies import training_studies, write_studies
from worker.training.axial_detections import Detections, detect_axial
from worker.training.calibration import (
    abstention,
    calibrated,
    fit_platt_scaling,
    fit_temperature,
)
from worker.training.card_figures import detection_figures, grade_figures, point_figures
from worker.training.data import AXIAL, T1, T2, TrainingData, check_samples
from worker.training.members import PHANTOM, RunConfig, train
from worker.training.model_card import to_markdown
from worker.training.recipe import Recipe
from worker.training.samples import PointSet

log = structlog.get_logger()

LICENCE: Final = "CC-BY-NC-4.0: non-commercial research use only, as the training data"

Sheet = TypeVar("Sheet", GradeSheet, PointSheet)


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """The out-of-fold predictions of a bundle; None without data, or where it cannot make them."""

    foraminal: GradeSheet | None
    axial: GradeSheet | None
    t1: PointSheet | None
    t2: PointSheet | None
    recesses: Detections | None


def make_bundle(
    data: TrainingData,
    out: Path,
    config: RunConfig,
    approach: Approach,
    recipes: Mapping[str, Recipe],
    *,
    name: str = "default",
) -> Card:
    """Train what is not trained yet, calibrate, and write a bundle; returns its card."""
    files: dict[str, list[Path]] = {}
    studies: set[str] = set()
    for network, recipe in recipes.items():
        check_samples(recipe, approach.networks[network])
    for network, recipe in recipes.items():
        files[network], trained_on = train(recipe, approach.networks, data, config)
        studies |= trained_on
    card = assemble(out, files, approach, recipes, studies, name)
    bundle = load_bundle(out, config.device)
    return finish(out, card, predict_out_of_fold(bundle, data, recipes))


def assemble(
    out: Path,
    files: Mapping[str, list[Path]],
    approach: Approach,
    recipes: Mapping[str, Recipe],
    studies: set[str],
    name: str,
) -> Card:
    """Put the members' files into a folder with a card that calibrates nothing yet."""
    out.mkdir(parents=True, exist_ok=True)
    networks: dict[str, NetworkEntry] = {}
    for network, spec in approach.networks.items():
        for file in files[network]:
            copyfile(file, out / file.name)
        networks[network] = network_entry(recipes[network], spec, files[network])
    card = Card(
        name=name,
        version=datetime.now(UTC).strftime("%Y.%m.%d"),
        licence=LICENCE,
        target_set=CURRENT_TARGET_SET,
        approach=ApproachEntry(**resolved(approach)),
        networks=networks,
        calibration={condition: CalibrationEntry() for condition in Condition},
        decision={condition: DecisionEntry() for condition in Condition},
        training_studies=write_studies(training_studies(studies), out),
    )
    write_card(card, out)
    return card


def network_entry(recipe: Recipe, spec: NetworkSpec, files: Sequence[Path]) -> NetworkEntry:
    """What a card says of a network whose members, one for each held-out fold, are these files."""
    members = tuple(
        Member(file=file.name, sha256=hashlib.sha256(file.read_bytes()).hexdigest(), held_out=fold)
        for fold, file in zip(recipe.held_out, files, strict=True)
    )
    return NetworkEntry(
        architecture=recipe.architecture,
        kwargs=recipe.kwargs,
        heads=spec.heads,
        folds=recipe.folds,
        members=members,
    )


def predict_out_of_fold(
    bundle: Bundle, data: TrainingData, recipes: Mapping[str, Recipe]
) -> OutOfFold:
    """All that the members of a bundle predict of studies that they were not trained on."""
    grades, points = sources.grades_pictures(bundle), sources.locates_pictures(bundle)
    if not (grades and points):
        log.warning("single pictures are not measured", approach=bundle.approach.name)
    return OutOfFold(
        foraminal=_sheet(bundle, data, T1, sources.foraminal) if grades else None,
        axial=_sheet(bundle, data, AXIAL, sources.axial) if grades else None,
        t1=_sheet(bundle, data, T1, sources.levels) if points else None,
        t2=_sheet(bundle, data, T2, sources.levels) if points else None,
        recesses=_detections(bundle, data, recipes.get(AXIAL_NETWORK)),
    )


def _sheet(
    bundle: Bundle,
    data: TrainingData,
    name: str,
    read: Callable[[Path, Bundle, sources.Observe], Sheet],
) -> Sheet | None:
    if data.folder is None or not (data.folder / name).is_dir():
        return None
    log.info("predicting out of fold", data=name)
    return read(data.folder / name, bundle, lambda _done, _total: None)


def _detections(bundle: Bundle, data: TrainingData, recipe: Recipe | None) -> Detections | None:
    """How well the axial network finds canal and recesses, by its first member."""
    if recipe is None:
        return None
    samples = data.samples(recipe, bundle.approach.networks[AXIAL_NETWORK])
    assert isinstance(samples, PointSet)
    kept_out = samples.where(
        lambda s: not s.startswith(PHANTOM) and fold_of(s, recipe.folds) == recipe.held_out[0]
    )
    if not len(kept_out):
        return None
    return detect_axial(only(bundle, {AXIAL_NETWORK: (0,)}).runner, kept_out)


def finish(out: Path, card: Card, predicted: OutOfFold) -> Card:
    """Calibrate an assembled bundle out of fold, measure it, and write its card."""
    calibration, decision = dict(card.calibration), dict(card.decision)
    figures: dict[str, Any] = {}
    for task, sheet in ((Task.FORAMINAL, predicted.foraminal), (Task.AXIAL, predicted.axial)):
        if sheet is None:
            continue
        rows: list[GradePrediction] = []
        for condition in Condition:
            of_it = [row for row in sheet.rows if row.target.condition is condition]
            labelled = [row for row in of_it if row.truth is not None]
            if labelled:
                temperature = fit_temperature(labelled)
                at_it = calibrated(labelled, temperature)
                calibration[condition] = CalibrationEntry(temperature=temperature)
                decision[condition] = DecisionEntry(abstain_below=abstention(at_it))
                rows += at_it
        figures |= grade_figures(evaluate(task, replace(sheet, rows=tuple(rows))))
    for points in (predicted.t1, predicted.t2):
        if points is not None:
            figures |= point_figures(evaluate(Task.LEVELS, points=points))
    scaling: dict[str, PlattScaling] = {}
    if predicted.t1 is not None:
        scaling[SAGITTAL_NETWORK] = _platt_scaling_of(predicted.t1)
    if predicted.recesses is not None:
        found = predicted.recesses
        scaling[AXIAL_NETWORK] = fit_platt_scaling(found.scores, found.errors)
        figures[AXIAL_NETWORK] = detection_figures(found)
    networks = {
        name: entry.model_copy(update={"platt_scaling": scaling.get(name)})
        for name, entry in card.networks.items()
    }
    finished = card.model_copy(
        update={
            "networks": networks,
            "calibration": calibration,
            "decision": decision,
            "figures": figures,
        }
    )
    write_card(finished, out)
    markdown = to_markdown(finished, read_identity(out).device_uid)
    (out / "README.md").write_text(markdown, encoding="utf-8")
    return finished


def _platt_scaling_of(sheet: PointSheet) -> PlattScaling:
    rows = [row for row in sheet.rows if row.error is not None]
    scores = np.array([row.confidence for row in rows])
    return fit_platt_scaling(scores, np.array([row.error for row in rows], dtype=np.float64))
