"""A bundle of networks that draw plausible anatomy in a millisecond, wherever they look.

Untrained networks of the real architectures find nothing, so that nothing behind them runs;
these find all 25 targets on every study, and what they say still depends on the pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from dicom_sr.findings import BundleIdentity, Condition, Level
from dicom_sr.uids import device_uid
from tests.support.bundles import card_of
from worker.approaches import TwoStage
from worker.localise.heatmaps.options import HeatmapOptions
from worker.localise.heatmaps.peaks import STRIDE
from worker.localise.heatmaps.windows import (
    AXIAL_SHAPE,
    SAGITTAL_POINTS,
    SAGITTAL_SHAPE,
    Structure,
)
from worker.models.bundle import Bundle, resolved
from worker.models.card import ApproachEntry, DecisionEntry
from worker.models.networks import middle, standardise
from worker.models.runner import TorchRunner
from worker.models.studies import training_studies

_CANAL = ((144, 77), (143, 105), (148, 132), (158, 157), (173, 176))
_FORAMEN = ((139, 66), (139, 97), (143, 129), (153, 159), (169, 184))
"""Where the sagittal view of the fuzzed phantom shows them, in crop pixels, L1/L2 first."""

_PLACES = {Structure.DISC: _CANAL, Structure.CANAL: _CANAL, Structure.FORAMEN: _FORAMEN}
_RECESS_PX = 9.3 / HeatmapOptions().axial_window_mm * AXIAL_SHAPE[1]


class Drawn(nn.Module):
    """Heatmaps with a hot cell at each place, (column, row) in crop pixels, and faint noise."""

    def __init__(self, shape: tuple[int, int], places: Sequence[tuple[float, float]]) -> None:
        super().__init__()
        rows, columns = (side // STRIDE for side in shape)
        ys, xs = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        self.drawn = torch.stack(
            [
                8 * torch.exp(-((xs - x / STRIDE) ** 2 + (ys - y / STRIDE) ** 2) / 3) - 6
                for x, y in places
            ]
        )

    def forward(self, crops: Tensor) -> Tensor:
        return self.drawn + functional.avg_pool2d(standardise(crops), STRIDE)


class Linear(nn.Module):
    """Three logits for each target, linear in the crop."""

    def __init__(self, targets: int, slices: int) -> None:
        super().__init__()
        self.targets, self.slices = targets, slices
        self.head = nn.Linear(16 * slices, 3 * targets)

    def forward(self, crops: Tensor) -> Tensor:
        seen = standardise(crops if self.slices > 1 else middle(crops))
        features = functional.adaptive_avg_pool2d(seen, 4).flatten(1)
        logits: Tensor = self.head(features)
        return logits.view(-1, self.targets, 3)


def small_bundle() -> Bundle:
    """The bundle, on the CPU."""
    torch.manual_seed(0)
    levels = list(Level)
    sagittal = [_PLACES[structure][levels.index(level)] for structure, level in SAGITTAL_POINTS]
    height, width = AXIAL_SHAPE
    across = (0.0, _RECESS_PX, -_RECESS_PX)  # the patient's left is shown on the right
    axial = [(width / 2 + x, height / 2) for x in across]
    sha256 = "ab" * 32
    approach = TwoStage.of("heatmaps", "crops")
    runner = TorchRunner(
        networks=MappingProxyType(
            {
                "sagittal_points": (Drawn(SAGITTAL_SHAPE, sagittal).eval(),),
                "axial_points": (Drawn(AXIAL_SHAPE, axial).eval(),),
                "foraminal_grades": (Linear(1, 3).eval(),),
                "axial_grades": (Linear(2, 1).eval(),),
            }
        ),
        platt_scaling={},
        device=torch.device("cpu"),
    )
    with TemporaryDirectory() as folder:
        card = card_of(
            Path(folder),
            ApproachEntry(**resolved(approach)),
            {},
            decision={condition: DecisionEntry(abstain_below=0.6) for condition in Condition},
        )
    return Bundle(
        card=card,
        approach=approach,
        runner=runner,
        identity=BundleIdentity("fuzzing", "0", sha256, device_uid(sha256)),
        studies=training_studies([]),
    )
