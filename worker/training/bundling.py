"""From four fitted networks to a bundle: calibrated, measured on what they never saw."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfile
from typing import Any, Final

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from dicom_sr import uids
from dicom_sr.findings import Condition
from worker.bundles.loading import CARD, NETWORKS, content_hash
from worker.evaluation.scores import constant_log_loss, severe_auc, weighted_log_loss
from worker.grade.graders import TRAINING_WEIGHTS
from worker.grade.windows import AXIAL_SHAPE, FORAMINAL_SHAPE
from worker.localise.heat import peaks
from worker.localise.windows import AXIAL_SHAPE as AXIAL_POINTS_SHAPE
from worker.localise.windows import SAGITTAL_SHAPE
from worker.training.augment import Geometry, move
from worker.training.model_card import to_markdown
from worker.training.recipe import (
    GradedSamples,
    RealSamples,
    held_out,
    load_network,
    make_phantoms,
    read_real,
    train_network,
)
from worker.training.samples import MISSING, PRESENT, GradeSet, join_points

log = structlog.get_logger()

MOVED: Final = {
    "sagittal_points": None,
    "axial_points": Geometry(shift_px=(20.0, 14.0), scale=1.15, rotation_deg=8.0),
}
"""How the windows that measure a detector are moved; axial ones by up to 10 and 7 mm."""

RIGHT_WITHIN: Final = 0.04
"""A point is right within this share of the image's width."""

LICENCE: Final = "CC-BY-NC-4.0: non-commercial research use only, as the training data"


@dataclass(frozen=True, eq=False)
class Predictions:
    """Logits (n, 3) and labels (n,) of one condition, for studies kept out of training."""

    logits: NDArray[np.float64]
    labels: NDArray[np.int64]
    training_labels: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Detections:
    """Heat (n,) and error (n,), in image widths, of the points a detector should find."""

    heats: NDArray[np.float64]
    errors: NDArray[np.float64]


def make_bundle(
    data: Path,
    out: Path,
    runs: Path,
    recipe: Mapping[str, Any],
    *,
    name: str = "default",
    device: str = "auto",
    progress: bool = True,
) -> dict[str, Any]:
    """Train what is not trained yet, calibrate, and write a bundle; returns its card.

    `data` holds the training folders, `runs` the checkpoints to resume from.
    """
    log.info("reading samples", data=str(data))
    samples = read_real(data)
    phantoms = make_phantoms(recipe["first_seed"], recipe["phantoms"])
    files = {
        network: train_network(
            network, recipe, samples, phantoms, runs, device=device, progress=progress
        )
        for network in NETWORKS
    }
    predictions = predict_held_out(samples, recipe, files)
    detections = detect_held_out(samples, recipe, files)
    card = describe(name, recipe, files, predictions, detections)
    out.mkdir(parents=True, exist_ok=True)
    for network, file in files.items():
        copyfile(file, out / card["networks"][network]["file"])
    (out / CARD).write_text(to_toml(card), encoding="utf-8")
    (out / "README.md").write_text(to_markdown(card), encoding="utf-8")
    return card


def predict_held_out(
    samples: GradedSamples, recipe: Mapping[str, Any], files: Mapping[str, Path]
) -> dict[Condition, Predictions]:
    """The graders' logits on the real studies that they have not seen."""
    foraminal = load_network(recipe["foraminal_grades"], files["foraminal_grades"])
    axial = load_network(recipe["axial_grades"], files["axial_grades"])
    kept_out = held_out("foraminal_grades", recipe)
    held = samples.foraminal_grades.where(kept_out)
    rest = samples.foraminal_grades.where(lambda study: not kept_out(study))
    crops = crops_of(held, FORAMINAL_SHAPE)
    found = {
        Condition.NEURAL_FORAMINAL_NARROWING: _predictions(
            [run(foraminal, crops)[:, 0]], [held.labels[:, 0]], [rest.labels[:, 0]]
        )
    }
    held = samples.axial_grades.where(kept_out)
    rest = samples.axial_grades.where(lambda study: not kept_out(study))
    crops = crops_of(held, AXIAL_SHAPE)
    straight, mirrored = run(axial, crops), run(axial, crops.flip(-1))
    found[Condition.SPINAL_CANAL_STENOSIS] = _predictions(
        [(straight[:, 0] + mirrored[:, 0]) / 2], [held.labels[:, 0]], [rest.labels[:, 0]]
    )
    found[Condition.SUBARTICULAR_STENOSIS] = _predictions(
        [straight[:, 1], mirrored[:, 1]],
        [held.labels[:, 1], held.labels[:, 2]],
        [rest.labels[:, 1], rest.labels[:, 2]],
    )
    return found


def detect_held_out(
    samples: RealSamples, recipe: Mapping[str, Any], files: Mapping[str, Path]
) -> dict[str, Detections]:
    """The detectors' points on the real studies that they have not seen.

    Axial windows are moved as sagittal T2 will misplace them: centred on the canal, they
    would give the answer away.
    """
    torch.manual_seed(0)
    sets = {
        "sagittal_points": (
            join_points([samples.foraminal_slices, samples.disc_slices]),
            SAGITTAL_SHAPE,
        ),
        "axial_points": (samples.axial_points, AXIAL_POINTS_SHAPE),
    }
    found = {}
    for name, (points, shape) in sets.items():
        held = points.where(held_out(name, recipe))
        network = load_network(recipe[name], files[name])
        heats, errors = [], []
        for start in range(0, len(held), 64):
            part = slice(start, start + 64)
            marked = torch.from_numpy(held.points[part])
            moved = move(torch.from_numpy(held.images[part]), marked, shape, MOVED[name])
            places, heat = peaks(torch.sigmoid(run(network, moved.crops)).flatten(0, 1), 1)
            error = (places[:, 0] - moved.points.flatten(0, 1)).norm(dim=1) / shape[1]
            present = torch.from_numpy(held.states[part]).flatten() == PRESENT
            heats.append(heat[present, 0])
            errors.append(error[present])
        found[name] = Detections(
            torch.cat(heats).double().numpy(), torch.cat(errors).double().numpy()
        )
    return found


def fit_belief(detections: Detections) -> list[float]:
    """Slope and offset of the curve from a point's heat to its chance of being right."""
    heat = np.clip(detections.heats, 1e-6, 1 - 1e-6)
    logits = np.log(heat / (1 - heat))[:, None]
    right = detections.errors < RIGHT_WITHIN
    curve = LogisticRegression().fit(logits, right)
    return [round(float(curve.coef_[0, 0]), 4), round(float(curve.intercept_[0]), 4)]


def crops_of(samples: GradeSet, shape: tuple[int, int]) -> Tensor:
    """The plain central crops of samples, shape (n, 1, height, width)."""
    nowhere = torch.zeros(len(samples), 1, 2)
    return move(torch.from_numpy(samples.images), nowhere, shape, None).crops


def run(network: nn.Module, crops: Tensor, batch: int = 128) -> Tensor:
    """A network's output for many crops, batch by batch."""
    with torch.inference_mode():
        return torch.cat([network(part) for part in torch.split(crops, batch)])


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The network's own probabilities, weighted as in the challenge's score, shape (n, 3)."""
    probabilities: NDArray[np.float64] = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
    return probabilities


def fit_temperature(predictions: Predictions) -> float:
    """The temperature that makes the posteriors most likely (Guo et al., arXiv 1706.04599)."""
    plain = torch.from_numpy(predictions.logits) - torch.tensor(TRAINING_WEIGHTS).log()
    labels = torch.from_numpy(predictions.labels)

    def unlikely(log_temperature: float) -> float:
        return float(nn.functional.cross_entropy(plain / np.exp(log_temperature), labels))

    best = minimize_scalar(unlikely, bounds=(-1.5, 1.5), method="bounded")
    return round(float(np.exp(best.x)), 4)


def describe(
    name: str,
    recipe: Mapping[str, Any],
    files: Mapping[str, Path],
    predictions: Mapping[Condition, Predictions],
    detections: Mapping[str, Detections],
) -> dict[str, Any]:
    """The card: what the bundle is, its files and hashes, its calibration and its figures."""
    networks = {
        network: {
            "file": file.name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "architecture": recipe[network]["architecture"],
            "outputs": recipe[network]["outputs"],
        }
        for network, file in files.items()
    }
    figures = {}
    for condition, found in predictions.items():
        probabilities = softmax(found.logits)
        figures[condition.value] = {
            "held_out_targets": len(found.labels),
            "weighted_log_loss": round(weighted_log_loss(probabilities, found.labels), 4),
            "constant_log_loss": round(constant_log_loss(found.training_labels, found.labels), 4),
            "severe_auc": round(severe_auc(probabilities, found.labels), 4),
        }
    for network, seen in detections.items():
        figures[network] = {
            "held_out_points": len(seen.errors),
            "median_error_of_width": round(float(np.median(seen.errors)), 4),
            "right_within_4_percent": round(float((seen.errors < RIGHT_WITHIN).mean()), 4),
        }
    card = {
        "name": name,
        "version": datetime.now(UTC).strftime("%Y.%m.%d"),
        "licence": LICENCE,
        "networks": networks,
        "beliefs": {network: fit_belief(d) for network, d in detections.items()},
        "temperatures": {c.value: fit_temperature(p) for c, p in predictions.items()},
        "figures": figures,
    }
    return card | {"device_uid": uids.device_uid(content_hash(card))}


def to_toml(card: Mapping[str, Any]) -> str:
    """Write a card as TOML: scalars first, then tables."""
    return "\n".join(_lines(card, ())) + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = [f"[{'.'.join(path)}]"] if path else []
    lines += [f"{k} = {_scalar(v)}" for k, v in table.items() if not isinstance(v, Mapping)]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += ["", *_lines(value, (*path, key))]
    return lines


def _scalar(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _predictions(
    logits: list[Tensor], labels: list[NDArray[np.int8]], training: list[NDArray[np.int8]]
) -> Predictions:
    joined = torch.cat(logits).double().numpy()
    truth = np.concatenate(labels).astype(np.int64)
    learnt = np.concatenate(training).astype(np.int64)
    known = truth != MISSING
    return Predictions(joined[known], truth[known], learnt[learnt != MISSING])
