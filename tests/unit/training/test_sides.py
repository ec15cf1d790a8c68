"""Left and right on the way into training: a swap here would teach the wrong side."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dicom_sr.findings import Condition, Level, Severity, Side
from tests.support.training import SPECS, module_for
from worker.datasets.axial import AxialRow
from worker.domain.study import Role
from worker.grade.crop_windows import CropOptions
from worker.localise.heatmaps.windows import AXIAL_POINTS, AxialPoint
from worker.phantom import SMALL, make_phantom
from worker.training import modules, synthetic
from worker.training.real import axial_grades, canal_points
from worker.training.samples import PRESENT, UNKNOWN


@pytest.fixture
def row(tmp_path: Path) -> AxialRow:
    """A crop of 200 x 120 pixels around a box of 100 x 40, severe on the left alone."""
    path = tmp_path / "crop.png"
    Image.fromarray(np.full((120, 200), 90, dtype=np.uint8)).save(path)
    box = (250.0, 240.0, 350.0, 280.0)
    normal, severe = Severity.NORMAL_MILD, Severity.SEVERE
    return AxialRow("1", "2", 3, path, Level.L4_L5, box, (640.0, 640.0), normal, severe, normal)


def columns(row: AxialRow, marked: dict[Side, tuple[float, float]]) -> dict[AxialPoint, float]:
    """The column of each axial point in the sample."""
    key = (row.study_id, row.series_id, row.instance_number, row.level)
    points = canal_points([row], {key: marked} if marked else {}).points[0]
    return {name: float(points[n, 0]) for n, name in enumerate(AXIAL_POINTS)}


@pytest.mark.parametrize(
    "marked", [{}, {Side.LEFT: (330.0, 255.0), Side.RIGHT: (272.0, 256.0)}], ids=["box", "marked"]
)
def test_the_left_recess_lies_on_the_right_of_the_picture(
    row: AxialRow, marked: dict[Side, tuple[float, float]]
) -> None:
    """Axial pictures show the patient's left on the right, annotated or taken from the box."""
    found = columns(row, marked)
    assert found[AxialPoint.RIGHT_RECESS] < found[AxialPoint.CANAL] < found[AxialPoint.LEFT_RECESS]


def test_labels_keep_the_order_canal_left_right(row: AxialRow) -> None:
    """The severe left recess is the second label."""
    assert axial_grades([row]).labels.tolist() == [[0, 2, 0]]


def test_a_mirrored_crop_trains_the_left_head_with_the_right_label(recipe) -> None:
    """The one sided head learns what now lies where the left recess was."""
    module = module_for(recipe("axial_grades", geometry={"mirror": True}))
    labels = torch.tensor([[0, 2, 1], [0, 2, 1]])
    seen = module._labels(labels, torch.tensor([False, True]))
    assert seen.tolist() == [[0, 2], [0, 1]]


def test_mirroring_swaps_the_recesses_and_keeps_the_canal(recipe) -> None:
    """The detector's points change sides in a mirrored crop, by name and by number."""
    mirror = SPECS["axial_points"].mirror
    assert mirror == {
        AxialPoint.LEFT_RECESS: AxialPoint.RIGHT_RECESS,
        AxialPoint.RIGHT_RECESS: AxialPoint.LEFT_RECESS,
    }
    module = module_for(recipe("axial_points"))
    assert [AXIAL_POINTS[n] for n in module.columns] == list(AXIAL_POINTS)
    swapped = [mirror.get(point, point) for point in AXIAL_POINTS]
    assert [AXIAL_POINTS[n] for n in module.mirrored_columns] == swapped


def test_a_mirrored_batch_teaches_the_recesses_where_they_now_lie(recipe, monkeypatch) -> None:
    """After mirroring, the left recess's heatmap is asked for where the right one is seen."""
    shape = (1, 96, 128)
    points = torch.zeros(1, len(AXIAL_POINTS), 2)
    column = {AxialPoint.CANAL: 63.5, AxialPoint.LEFT_RECESS: 100.0, AxialPoint.RIGHT_RECESS: 20.0}
    for n, point in enumerate(AXIAL_POINTS):
        points[0, n] = torch.tensor([column[point], 48.0])
    states = torch.ones(1, len(AXIAL_POINTS), dtype=torch.int8)
    states[0, AXIAL_POINTS.index(AxialPoint.RIGHT_RECESS)] = UNKNOWN
    module, asked = module_for(recipe("axial_points", geometry={"mirror": True})), []

    def loss(_logits, where, states):
        asked.append((where[0, :, 0].tolist(), states[0].tolist()))
        return torch.zeros(())

    monkeypatch.setattr(modules, "heatmap_loss", loss)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    torch.manual_seed(0)
    image = torch.randint(0, 255, shape, dtype=torch.uint8)
    for _ in range(12):
        module.training_step((image, points, states))
    left, right = (AXIAL_POINTS.index(p) for p in (AxialPoint.LEFT_RECESS, AxialPoint.RIGHT_RECESS))
    seen = {(round(where[left]), state[left], state[right]) for where, state in asked}
    # As it is: left at 100, known. Mirrored: what lies left is the unknown right one, at 127 - 20.
    assert seen == {(100, PRESENT, UNKNOWN), (107, UNKNOWN, PRESENT)}


def test_phantoms_show_the_lateral_slice_first(monkeypatch) -> None:
    """As the worker cuts them: towards the foramen's own side, itself, towards the middle."""
    phantom = make_phantom(3, slices=SMALL)
    series = phantom.of(Role.SAGITTAL_T1)
    seen = []

    def by_position(_series, index: int):
        """A slice whose grey is its place in x, in the patient: more is further to the left."""
        x_mm = series.planes[index].position_mm[0]
        return np.full(series.pixels[index].shape, 1000 + x_mm, np.float32)

    def record(images):
        seen.append([float(np.median(crop.pixels)) for crop in images])
        return np.zeros((3, 8, 8), np.uint8)

    monkeypatch.setattr(synthetic, "_slice", by_position)
    monkeypatch.setattr(synthetic, "to_greys", record)
    synthetic._foraminal(phantom, 35.0, "phantom3", CropOptions())
    foraminal = Condition.NEURAL_FORAMINAL_NARROWING
    sides = [target.side for target in phantom.points if target.condition is foraminal]
    assert len(seen) == len(sides) == 10
    for side, (lateral, itself, medial) in zip(sides, seen, strict=True):
        # Beyond the end of a series the slice itself is repeated.
        left = side is Side.LEFT
        assert (lateral >= itself > medial) if left else (lateral <= itself < medial)
