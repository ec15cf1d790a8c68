"""Headers that turn the patient never turn sides or levels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from dicom_sr.findings import NotAssessedReason
from tests.support.phantoms import shared_phantom
from worker.archive.folder import FolderArchive
from worker.domain.volume import Volume
from worker.intake.loading import load
from worker.localise.heatmaps.options import HeatmapOptions
from worker.localise.heatmaps.orientation import is_turned
from worker.localise.heatmaps.views import sagittal_view
from worker.localise.heatmaps.windows import T1_STRUCTURES
from worker.models.bundle import Bundle
from worker.phantom import write_phantom
from worker.pipeline import grade, route_study

NUMBERING = {
    NotAssessedReason.ORIENTATION_IN_DOUBT,
    NotAssessedReason.NOT_LUMBAR,
    NotAssessedReason.TOO_FEW_LEVELS,
    NotAssessedReason.TRANSITIONAL_ANATOMY,
}
SEEDS = (3, 19, 27)
TURNS = {"feet first": (-1, 1, -1), "prone": (-1, -1, 1), "feet first and prone": (1, -1, -1)}
"""Half a turn about each axis of the patient: the signs of x, y and z."""


@pytest.mark.parametrize("signs", TURNS.values(), ids=TURNS)
@pytest.mark.parametrize("seed", SEEDS[:2])
def test_a_wrongly_registered_patient_is_not_graded(
    seed: int, signs: tuple[int, int, int], quick_bundle: Bundle, tmp_path: Path
) -> None:
    """All series turned alike, pixels as they are: no target gets a grade."""
    write_phantom(shared_phantom(seed), tmp_path)
    for path in tmp_path.rglob("*.dcm"):
        dataset = dcmread(path)
        turned = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3) * signs
        dataset.ImageOrientationPatient = list(turned.ravel())
        dataset.ImagePositionPatient = list(np.array(dataset.ImagePositionPatient, float) * signs)
        dataset.save_as(path)
    report = grade(str(tmp_path), FolderArchive(), quick_bundle).report
    assert not report.graded
    assert {finding.reason for finding in report.not_assessed} <= NUMBERING


@pytest.mark.parametrize("seed", SEEDS)
def test_an_upright_series_is_not_turned_and_a_turned_one_is(
    seed: int, quick_bundle: Bundle, tmp_path: Path
) -> None:
    """Sagittal T1 as it is, and its pixels upside down."""
    write_phantom(shared_phantom(seed), tmp_path)
    archive = FolderArchive()
    (t1,) = load(route_study(str(tmp_path), archive), archive.fetch).sagittal_t1
    assert not turned(t1, quick_bundle)
    flipped = replace(t1, pixels=np.ascontiguousarray(t1.pixels[:, ::-1]))
    assert turned(flipped, quick_bundle)


def turned(volume: Volume, bundle: Bundle) -> bool:
    view = sagittal_view(volume, bundle.runner)
    return is_turned(view, T1_STRUCTURES, bundle.runner, HeatmapOptions())
