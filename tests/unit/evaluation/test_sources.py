"""Index folders, from pictures to predictions, on pictures of a phantom."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dicom_sr.findings import Condition, Level, Side, Target
from tests.support.phantoms import TINY, shared_phantom
from worker.datasets.discs import CANAL_GREY, DISC_GREY, disc_points
from worker.datasets.folds import fold_of
from worker.domain.study import Role
from worker.evaluation import sources
from worker.evaluation.predictions import SagittalWeighting
from worker.localise.heatmaps.windows import SAGITTAL_POINTS
from worker.models.studies import training_studies
from worker.phantom.study import Phantom

pytestmark = pytest.mark.slow


FORAMEN = Condition.NEURAL_FORAMINAL_NARROWING
CANAL = Condition.SPINAL_CANAL_STENOSIS
RECESS = Condition.SUBARTICULAR_STENOSIS
STUDIES = ("77", "learnt")
NOTHING = training_studies([])


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    """The smallest study that shows every target."""
    return shared_phantom(5, TINY)


def picture(pixels: np.ndarray) -> Image.Image:
    """A slice as an 8-bit picture."""
    return Image.fromarray(np.clip(pixels / pixels.max() * 255, 0, 255).astype(np.uint8))


def write_index(folder: Path, rows: list[dict]) -> None:
    """Write `index.csv`."""
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read_rows(folder: Path) -> list[dict]:
    """The rows of an index, to be changed."""
    with (folder / "index.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def t1(phantom, tmp_path: Path) -> Path:
    """A folder like `sagittal_t1`: two studies of the same pictures."""
    (tmp_path / "images").mkdir()
    series, rows = phantom.of(Role.SAGITTAL_T1), []
    for study in STUDIES:
        for target, point in phantom.points.items():
            if target.condition is not FORAMEN:
                continue
            plane, name = series.planes[point.index], f"images/{study}_1_{point.index + 1}.png"
            picture(series.pixels[point.index]).save(tmp_path / name)
            rows.append(
                {
                    "study_id": study,
                    "series_id": "1",
                    "instance_number": point.index + 1,
                    "file": name,
                    "side": target.side.value,
                    "level": target.level.value,
                    "severity": phantom.severities[target].rank,
                    "x_fraction": (point.image_point.column + 0.5) / plane.columns,
                    "y_fraction": (point.image_point.row + 0.5) / plane.rows,
                    "height": plane.rows,
                    "width": plane.columns,
                }
            )
    write_index(tmp_path, rows)
    return tmp_path


@pytest.fixture
def axial(phantom, tmp_path: Path) -> Path:
    """A folder like `axial_t2_crops`: the canal at each level, with grades."""
    (tmp_path / "images").mkdir()
    series, rows = phantom.of(Role.AXIAL_T2), []
    for level in Level:
        points = [phantom.points[Target(RECESS, level, side)] for side in Side]
        index = points[0].index
        plane = series.planes[index]
        left, right = (plane.to_px(np.array(p.patient_mm)) for p in points)
        middle = np.add(left, right) / 2
        half = abs(left[0] - right[0]) * 0.86
        x_min, x_max = middle[0] - half, middle[0] + half
        y_min, y_max = middle[1] - half * 0.46, middle[1] + half * 0.46
        top, beside = max(0, int(y_min - (y_max - y_min))), max(0, int(x_min - half))
        part = series.pixels[index][top : int(y_max + y_max - y_min), beside : int(x_max + half)]
        name = f"images/77___1___{index + 1}_{level.name}.png"
        picture(part).save(tmp_path / name)
        rows.append(
            {
                "study_id": "77",
                "series_id": "1",
                "instance_number": index + 1,
                "file": name,
                "level": level.value,
                "level_confirmed": True,
                "x_min": x_min,
                "y_min": y_min,
                "x_max": x_max,
                "y_max": y_max,
                "image_height": plane.rows,
                "image_width": plane.columns,
                CANAL.value: phantom.severities[Target(CANAL, level)].rank,
                f"left_{RECESS.value}": phantom.severities[Target(RECESS, level, Side.LEFT)].rank,
                f"right_{RECESS.value}": "",
            }
        )
    write_index(tmp_path, rows)
    return tmp_path


@pytest.fixture
def t2(phantom, tmp_path: Path) -> Path:
    """A folder like `sagittal_t2`: one picture with five discs and a canal in its mask."""
    series = phantom.of(Role.SAGITTAL_T2)
    points = {level: phantom.points[Target(CANAL, level)] for level in Level}
    pixels = series.pixels[points[Level.L3_L4].index]
    mask = np.zeros(pixels.shape, np.uint8)
    for point in points.values():
        column, row = round(point.image_point.column), round(point.image_point.row)
        mask[row - 30 : row + 30, column - 4 : column + 4] = CANAL_GREY
        mask[row - 4 : row + 5, column - 45 : column - 14] = DISC_GREY
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    picture(pixels).save(tmp_path / "images/spider1.png")
    Image.fromarray(mask).save(tmp_path / "masks/spider1.png")
    row = {
        "study_id": "spider1",
        "slice": 3,
        "file": "images/spider1.png",
        "mask": "masks/spider1.png",
        "mask_classes": "vertebra, disc and canal as separate grey values",
    }
    write_index(tmp_path, [row])
    return tmp_path


class Spots(nn.Module):
    """A detector that finds every point: how far right, the picture's brightness says."""

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Logits with one hot cell for each point."""
        logits = torch.full((len(crops), len(SAGITTAL_POINTS), 64, 64), -9.0)
        for logit, crop in zip(logits, crops, strict=True):
            weight = crop[0].clamp_min(0).sum(0)
            column = int((weight * torch.arange(256)).sum() / weight.sum()) // 4
            for n in range(len(SAGITTAL_POINTS)):
                logit[n, 8 + 10 * (n % 5), column + n // 5] = 9.0
        return logits


@pytest.fixture
def finder(untrained):
    """The untrained bundle, which has learnt from nobody, with a detector that finds something."""
    networks = {**untrained.runner.networks, "sagittal_points": (Spots(),)}
    runner = replace(untrained.runner, networks=networks)
    return replace(untrained, runner=runner, studies=NOTHING)


def with_members(bundle, keep):
    """The same bundle with some of its foraminal members alone."""
    network = "foraminal_grades"
    entry = bundle.card.networks[network]
    chosen = [n for n, member in enumerate(entry.members) if keep(member)]
    fewer = entry.model_copy(update={"members": tuple(entry.members[n] for n in chosen)})
    card = bundle.card.model_copy(update={"networks": {**bundle.card.networks, network: fewer}})
    return replace(bundle, card=card, runner=bundle.runner.only({network: chosen}))


def silent(done: int, total: int) -> None:
    """Nobody watches."""


def test_every_foramen_is_graded_under_its_name(t1, untrained, phantom) -> None:
    """One row for each of the index, with its file, target and truth; progress ends at the end."""
    told = []
    sheet = sources.foraminal(t1, untrained, lambda *both: told.append(both))
    index = {
        (row["study_id"], row["file"], row["side"], row["level"]): int(row["severity"])
        for row in read_rows(t1)
    }
    found = {
        (r.study_id, r.file, r.target.side.value, r.target.level.value): r.truth.rank
        for r in sheet.rows
    }
    assert found == index
    assert len(sheet.rows) == 20
    assert {row.target.condition for row in sheet.rows} == {FORAMEN}
    assert told[-1] == (20, 20)
    assert sheet.provenance.problems == ()


def test_a_study_is_graded_by_what_has_not_seen_it(t1, untrained) -> None:
    """The same pictures: the unknown study by all members, the learnt one by that of its fold."""
    sheet = sources.foraminal(t1, untrained, silent)
    assert (sheet.provenance.held_out, sheet.provenance.unknown) == (1, 1)
    assert sheet.provenance.left_out == 0
    fold = fold_of("learnt", 3)
    own = with_members(untrained, lambda member: member.held_out == fold)
    assert len(own.runner.networks["foraminal_grades"]) == 1
    alone = sources.foraminal(t1, replace(own, studies=NOTHING), silent)
    everyone = sources.foraminal(t1, replace(untrained, studies=NOTHING), silent)

    def severe(sheet, study) -> list[float]:
        rows = sorted(
            (r for r in sheet.rows if r.study_id == study), key=lambda r: str((r.target, r.file))
        )
        return [row.posterior.severe for row in rows]

    np.testing.assert_allclose(severe(sheet, "77"), severe(everyone, "77"), atol=1e-5)
    np.testing.assert_allclose(severe(sheet, "learnt"), severe(alone, "learnt"), atol=1e-5)
    assert not np.allclose(severe(alone, "learnt"), severe(everyone, "learnt"), atol=1e-4)


def test_a_study_that_all_have_seen_is_left_out(t1, untrained) -> None:
    """It gets no row, and is counted."""
    fold = fold_of("learnt", 3)
    seen = with_members(untrained, lambda member: member.held_out != fold)
    sheet = sources.foraminal(t1, seen, silent)
    assert {row.study_id for row in sheet.rows} == {"77"}
    assert (sheet.provenance.unknown, sheet.provenance.left_out) == (1, 1)


def test_an_unreadable_picture_is_a_problem(t1, untrained) -> None:
    """It is named, its rows are missing, and nothing else is."""
    index = read_rows(t1)
    broken = index[0]["file"]
    (t1 / broken).write_bytes(b"no picture")
    sheet = sources.foraminal(t1, untrained, silent)
    assert {row.file for row in sheet.rows} <= {row["file"] for row in index} - {broken}
    assert any(broken in problem for problem in sheet.provenance.problems)
    points = sources.levels(t1, untrained, silent)
    assert broken not in {row.file for row in points.rows}
    assert sum(broken in problem for problem in points.provenance.problems) == 1


def test_a_crop_gives_three_grades_and_keeps_missing_labels(axial, untrained, phantom) -> None:
    """Canal, left and right of each level; a target without a label is predicted all the same."""
    sheet = sources.axial(axial, untrained, silent)
    assert len(sheet.rows) == 15
    wanted = {Target(CANAL, level) for level in Level}
    wanted |= {Target(RECESS, level, side) for level in Level for side in Side}
    assert {row.target for row in sheet.rows} == wanted
    by_level = {row["level"]: row["file"] for row in read_rows(axial)}
    for row in sheet.rows:
        assert row.file == by_level[row.target.level.value]
        unlabelled = row.target.side is Side.RIGHT
        assert row.truth is (None if unlabelled else phantom.severities[row.target])


def test_an_unreadable_crop_is_a_problem(axial, untrained) -> None:
    """Four levels are graded, the fifth is told."""
    broken = read_rows(axial)[2]["file"]
    (axial / broken).write_bytes(b"no picture")
    sheet = sources.axial(axial, untrained, silent)
    assert len(sheet.rows) == 12
    (problem,) = sheet.provenance.problems
    assert broken in problem


def found_in(sheet) -> dict:
    """Places and confidence by file and level."""
    return {(row.file, row.level): (row.found, row.confidence) for row in sheet.rows}


def test_levels_are_found_on_every_picture_once(t1, finder, phantom) -> None:
    """Five for each picture, the marked ones beside their marks."""
    sheet = sources.levels(t1, finder, silent)
    index = read_rows(t1)
    files = {row["file"] for row in index}
    assert set(found_in(sheet)) == {(file, level) for file in files for level in Level}
    assert len(sheet.rows) == len(files) * len(Level)
    assert {row.weighting for row in sheet.rows} == {SagittalWeighting.T1}
    assert all(row.found is not None and row.confidence > 0.9 for row in sheet.rows)
    marks = {(row["file"], row["level"]) for row in index}
    assert {(r.file, r.level.value) for r in sheet.rows if r.truth is not None} == marks
    assert len({row.found[0] for row in sheet.rows}) > 1


@pytest.mark.parametrize("change", ["blank", "shuffled", "without"])
def test_levels_never_sees_the_points_of_the_index(t1, finder, change) -> None:
    """Whatever the index says of points and levels, the same places are found."""
    before = found_in(sources.levels(t1, finder, silent))
    rows = read_rows(t1)
    told = ("side", "level", "severity", "x_fraction", "y_fraction")
    if change == "blank":
        rows = [{**row, **dict.fromkeys(told, "")} for row in rows]
    elif change == "shuffled":
        others = rows[7:] + rows[:7]
        rows = [
            {**r, **{k: o[k] for k in told}} for r, o in zip(rows, reversed(others), strict=True)
        ]
    else:
        rows = [{k: v for k, v in row.items() if k not in told} for row in rows]
    write_index(t1, rows)
    assert found_in(sources.levels(t1, finder, silent)) == before


def test_places_are_fractions_of_the_picture_before_it_was_squashed(t1, finder) -> None:
    """A slice of 300 x 200 pixels squashed to a square one is looked at in its own proportions."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (128, 128), dtype=np.uint8)).save(t1 / "images/odd.png")
    (row, *_) = read_rows(t1)
    write_index(t1, [{**row, "file": "images/odd.png", "height": 300, "width": 200}])
    sheet = sources.levels(t1, finder, silent)
    for n, one in enumerate(sorted(sheet.rows, key=lambda r: r.level)):
        # The square window is 300 wide: the picture's middle 200 are all of its width.
        cell = round(((one.found[0] - 0.5) * 200 / 300 + 0.5) * 64 - 0.5)
        assert one.found[0] == pytest.approx(0.5 + ((cell + 0.5) / 64 - 0.5) * 300 / 200, abs=1e-4)
        assert one.found[1] == pytest.approx((8 + 10 * n + 0.5) / 64, abs=1e-4)
        assert one.aspect == pytest.approx(1.5)


def test_discs_of_masks_are_what_t2_is_judged_by(t2, finder) -> None:
    """Centroids in fractions, counted upward from the lowest; the mask itself is not looked at."""
    sheet = sources.levels(t2, finder, silent)
    assert {row.weighting for row in sheet.rows} == {SagittalWeighting.T2}
    assert [row.level for row in sheet.rows] == list(Level)
    with Image.open(t2 / "masks/spider1.png") as mask:
        columns, rows = mask.size
    discs = {point.level: point.disc for point in disc_points(t2 / "masks/spider1.png")}
    for row in sheet.rows:
        column, line = discs[row.level]
        assert row.truth == pytest.approx(((column + 0.5) / columns, (line + 0.5) / rows))
    heights = [row.truth[1] for row in sheet.rows]
    assert heights == sorted(heights)
    Image.fromarray(np.zeros((rows, columns), np.uint8)).save(t2 / "masks/spider1.png")
    blank = sources.levels(t2, finder, silent)
    assert found_in(blank) == found_in(sheet)
    assert all(row.truth is None for row in blank.rows)


def test_an_unreadable_mask_is_a_problem(t2, finder) -> None:
    """The picture's levels are found and not judged."""
    (t2 / "masks/spider1.png").write_bytes(b"no mask")
    sheet = sources.levels(t2, finder, silent)
    assert len(sheet.rows) == len(Level)
    assert all(row.truth is None for row in sheet.rows)
    (problem,) = sheet.provenance.problems
    assert "masks/spider1.png" in problem


def test_what_is_too_faint_is_not_found(t1, untrained) -> None:
    """An untrained detector says nothing rather than something."""
    sheet = sources.levels(t1, untrained, silent)
    assert sheet.rows
    assert all(row.found is None and row.confidence == 0 for row in sheet.rows)
