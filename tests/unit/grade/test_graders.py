"""Crops, calibration and mirroring in stage 2."""

import numpy as np
import pytest
import torch

from dicom_sr.findings import Level, Severity, Side
from worker.domain.crop import Crop, Grid, Window
from worker.grade.crop_windows import AXIAL_SHAPE, FORAMINAL_SHAPE, CropOptions, widened
from worker.grade.crops import Crops, Neighbours, posteriors
from worker.models.bundle import Bundle
from worker.models.calibration import at_temperature

OPTIONS = CropOptions()
VIEW_CONTEXT = OPTIONS.view_context
GRADER = Crops(OPTIONS)


def crops(shape: tuple[int, int], count: int) -> list[Crop]:
    """Random crops."""
    rng = np.random.default_rng(1)
    window = Window(0, 0, 1, 1)
    return [Crop(rng.random(shape, dtype=np.float32), window) for _ in range(count)]


def foramen(crop: Crop) -> Neighbours:
    """A foramen that looks alike on its neighbouring slices."""
    return crop, crop, crop


def test_training_weights_are_divided_out() -> None:
    """Equal logits of a network trained with weights 1/2/4 mean posteriors of 4:2:1."""
    (found,) = posteriors(torch.zeros(1, 3))
    assert (found.normal_mild, found.moderate, found.severe) == pytest.approx((4 / 7, 2 / 7, 1 / 7))
    assert found.severity is Severity.NORMAL_MILD


def test_a_high_temperature_takes_confidence_away() -> None:
    """The same logits are less sure at a higher temperature, and as ordered."""
    logits = torch.tensor([[0.0, 1.0, 4.0]])
    (plain,) = posteriors(logits)
    sure, unsure = (at_temperature(plain, t) for t in (0.5, 2.0))
    assert sure.severe > unsure.severe > 1 / 3
    assert sure.severity is unsure.severity is Severity.SEVERE


@pytest.mark.parametrize("context", [1.0, VIEW_CONTEXT])
def test_a_mirrored_crop_gives_the_mirrored_grades(untrained: Bundle, context: float) -> None:
    """Left and right swap exactly, and the canal stays, when the crop is mirrored."""
    crop = crops(widened(AXIAL_SHAPE, context), 1)[0]
    mirrored = Crop(np.ascontiguousarray(crop.pixels[:, ::-1]), crop.window)
    one, other = (
        GRADER.grade_axial([crop], untrained.runner)[0],
        GRADER.grade_axial([mirrored], untrained.runner)[0],
    )
    assert one.recesses[Side.LEFT].severe == pytest.approx(other.recesses[Side.RIGHT].severe)
    assert one.recesses[Side.RIGHT].severe == pytest.approx(other.recesses[Side.LEFT].severe)
    assert one.canal.severe == pytest.approx(other.canal.severe, abs=1e-5)
    assert one.recesses[Side.LEFT] != one.recesses[Side.RIGHT]


@pytest.mark.parametrize("context", [1.0, VIEW_CONTEXT])
def test_a_batch_equals_its_elements(untrained: Bundle, context: float) -> None:
    """Grading together or one by one gives the same probabilities, several views or one."""
    some = [foramen(crop) for crop in crops(widened(FORAMINAL_SHAPE, context), 3)]
    together = GRADER.grade_foramina(some, untrained.runner)
    alone = [GRADER.grade_foramina([crop], untrained.runner)[0] for crop in some]
    for a, b in zip(together, alone, strict=True):
        assert a.severe == pytest.approx(b.severe, abs=1e-5)
    assert GRADER.grade_foramina([], untrained.runner) == []
    assert GRADER.grade_axial([], untrained.runner) == []


def test_a_grade_is_the_mean_over_views_moved_by_the_margin() -> None:
    """Each network sees the middle and four views moved by the margin, in the grader's shape."""
    height, width = widened(FORAMINAL_SHAPE, VIEW_CONTEXT)
    ramp = np.add.outer(1000.0 * np.arange(height), np.arange(width)).astype(np.float32)
    crop, asked = Crop(ramp, Window(0, 0, 1, 1)), []

    class FirstPixel:
        def run(self, network: str, views: torch.Tensor) -> torch.Tensor:
            assert network == "foraminal_grades"
            assert views.shape[-2:] == FORAMINAL_SHAPE
            asked.extend(divmod(int(view[1, 0, 0]), 1000) for view in views)
            logits = torch.zeros(len(views), 1, 3)
            logits[:, 0, 2] = torch.arange(len(views))
            return logits

    (found,) = GRADER.grade_foramina([foramen(crop)], FirstPixel())
    down, right = height - FORAMINAL_SHAPE[0], width - FORAMINAL_SHAPE[1]
    middle = (down // 2, right // 2)
    corners = {middle, (0, middle[1]), (down, middle[1]), (middle[0], 0), (middle[0], right)}
    assert len(asked) == len(set(asked)) == 5
    assert set(asked) == corners
    (expected,) = posteriors(torch.tensor([[0.0, 0.0, 2.0]]))
    assert found.severe == pytest.approx(expected.severe)


def test_the_neighbours_reach_the_network_in_their_order() -> None:
    """Lateral, middle, medial are channels 0, 1 and 2; an axial crop is one channel."""
    lateral, here, medial = crops(FORAMINAL_SHAPE, 3)
    asked = {}

    class Listening:
        def run(self, network: str, given: torch.Tensor) -> torch.Tensor:
            asked[network] = given
            return torch.zeros(len(given), 2, 3)

    GRADER.grade_foramina([(lateral, here, medial)], Listening())
    GRADER.grade_axial(crops(AXIAL_SHAPE, 1), Listening())
    (given,) = asked["foraminal_grades"]
    for channel, crop in zip(given, (lateral, here, medial), strict=True):
        np.testing.assert_array_equal(channel.numpy(), crop.pixels)
    assert asked["axial_grades"].shape == (2, 1, *AXIAL_SHAPE)


@pytest.mark.parametrize("side", Side)
def test_a_recess_is_graded_on_its_side_of_the_crop(side: Side) -> None:
    """A crop shows the patient's left on the right: what lies there is the left recess."""
    height, width = widened(AXIAL_SHAPE, VIEW_CONTEXT)
    pixels = np.zeros((height, width), dtype=np.float32)
    pixels[:, width // 2 :] = 1.0 if side is Side.LEFT else 0.0
    pixels[:, : width // 2] = 0.0 if side is Side.LEFT else 1.0

    class BrightOnTheRight:
        """Grades the left recess severe where the right half of the crop is bright."""

        def run(self, network: str, views: torch.Tensor) -> torch.Tensor:
            assert network == "axial_grades"
            logits = torch.zeros(len(views), 2, 3)
            logits[:, 1, 2] = 10 * views[:, 0, :, views.shape[-1] // 2 :].mean(dim=(1, 2))
            return logits

    (found,) = GRADER.grade_axial([Crop(pixels, Window(0, 0, 1, 1))], BrightOnTheRight())
    other = Side.RIGHT if side is Side.LEFT else Side.LEFT
    assert found.recesses[side].severity is Severity.SEVERE
    assert found.recesses[other].severity is Severity.NORMAL_MILD


def test_brightness_and_contrast_do_not_matter(untrained: Bundle) -> None:
    """A crop in 12-bit units and the same in 0..1 get the same grade."""
    crop = crops(FORAMINAL_SHAPE, 1)[0]
    scaled = Crop(crop.pixels * 1500 + 80, crop.window)
    one, other = GRADER.grade_foramina([foramen(crop), foramen(scaled)], untrained.runner)
    assert one.severe == pytest.approx(other.severe, abs=1e-3)


def test_level_spacing_bears_one_misplaced_level() -> None:
    """The spacing comes from all pairs, so one level far off moves it little."""
    depths = (0.0, 1.022, 2.069, 3.061, 4.0)
    points = {
        level: np.array([0.0, 30.0 * depth]) for level, depth in zip(Level, depths, strict=True)
    }
    assert OPTIONS.level_spacing(points) == pytest.approx(30)
    points[Level.L5_S1] = points[Level.L5_S1] + np.array([0.0, 25.0])
    assert OPTIONS.level_spacing(points) == pytest.approx(30, rel=0.15)
    assert OPTIONS.level_spacing({Level.L1_L2: np.zeros(2)}) is None


def test_windows_keep_their_physical_size_for_non_square_pixels() -> None:
    """The window covers the same millimetres both ways whatever the pixels' shape."""
    window = OPTIONS.foraminal_window(10, 20, 30.0, Grid(0.5, 0.75))
    assert window.width_px * 0.5 == pytest.approx(window.height_px * 0.75)
    axial = OPTIONS.axial_window(10, 20, 18.0, Grid(0.4, 0.8))
    ratio = (axial.width_px * 0.4) / (axial.height_px * 0.8)
    assert ratio == pytest.approx(AXIAL_SHAPE[1] / AXIAL_SHAPE[0])
