"""The competition's own layout gives the rows that the index folders give."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dicom_sr.findings import Condition, Level, Side, Target
from worker.datasets.foraminal import read_foraminal
from worker.datasets.rsna import read_coordinates, read_labels
from worker.datasets.rsna_marks import WITHOUT_IMAGES
from worker.datasets.rsna_rows import ONE_SIDED, rsna_axial, rsna_canal, rsna_foraminal
from worker.datasets.sides import CONTRADICT
from worker.datasets.tables import FAULTY
from worker.domain.study import Role
from worker.errors import BadSettings

FORAMEN = Condition.NEURAL_FORAMINAL_NARROWING
CANAL = Condition.SPINAL_CANAL_STENOSIS
RECESS = Condition.SUBARTICULAR_STENOSIS
COORDINATES = "train_label_coordinates.csv"

Record = dict[str, str]
Edit = Callable[[list[Record]], None]


@pytest.fixture
def copy(rsna_folder: Path, tmp_path: Path) -> Path:
    """A phantom's folder that may be changed."""
    shutil.copytree(rsna_folder, tmp_path, dirs_exist_ok=True)
    return tmp_path


def edit(table: Path, change: Edit) -> None:
    """Change the records of a table in place."""
    with table.open(newline="") as file:
        records = list(csv.DictReader(file))
    names = list(records[0])
    change(records)
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(records)


def of(records: list[Record], words: str, level: Level | None = None) -> list[Record]:
    """The records whose condition holds these words."""
    return [r for r in records if words in r["condition"] and level in (None, r["level"])]


def test_every_foramen_is_a_row_with_its_grade_and_place(phantom, rsna_folder) -> None:
    """Ten rows, each with the truth's severity, its image and its point."""
    table = rsna_foraminal(rsna_folder)
    assert not table.problems
    assert len(table.rows) == 10
    series = phantom.of(Role.SAGITTAL_T1)
    for row in table.rows:
        target = Target(FORAMEN, row.level, row.side)
        point = phantom.points[target]
        assert row.severity is phantom.severities[target]
        assert (row.instance_number, row.path.name) == (point.index + 1, f"{point.index + 1}.dcm")
        plane = series.planes[point.index]
        assert row.original == (plane.rows, plane.columns)
        # Fractions count from the image's edge, points from the first pixel's centre.
        assert row.x_fraction * plane.columns == pytest.approx(point.image_point.column + 0.5)
        assert row.physical == pytest.approx(
            (
                (point.image_point.column + 0.5) * plane.column_spacing_mm,
                (point.image_point.row + 0.5) * plane.row_spacing_mm,
            )
        )


def test_every_level_is_an_axial_row_on_each_slice_with_a_recess(phantom, rsna_folder) -> None:
    """The whole slice, the grades of canal and both recesses, and the box between them."""
    table = rsna_axial(rsna_folder)
    assert not table.problems
    slices = {(t.level, p.index + 1) for t, p in phantom.points.items() if t.condition is RECESS}
    assert {(row.level, row.instance_number) for row in table.rows} == slices
    assert len(table.rows) == len(slices)
    for row in table.rows:
        assert row.canal is phantom.severities[Target(CANAL, row.level)]
        assert row.left is phantom.severities[Target(RECESS, row.level, Side.LEFT)]
        assert row.right is phantom.severities[Target(RECESS, row.level, Side.RIGHT)]
        assert row.corner_px == (0, 0)
        assert row.left_recess is not None
        assert row.right_recess is not None
        middle = (row.box[0] + row.box[2]) / 2
        assert middle == pytest.approx((row.left_recess[0] + row.right_recess[0]) / 2)
        places = [phantom.points[Target(RECESS, row.level, side)].patient_mm for side in Side]
        apart = np.subtract(*places)
        normal = phantom.of(Role.AXIAL_T2).planes[row.instance_number - 1].normal
        in_plane = np.linalg.norm(apart - normal * (normal @ apart))
        assert row.span == pytest.approx(in_plane, abs=0.05)


def test_canal_rows_hold_every_level_of_their_slice(phantom, rsna_folder) -> None:
    """Five canal points, on as many slices as they were marked on."""
    table = rsna_canal(rsna_folder)
    assert not table.problems
    found = {level: row for row in table.rows for level in row.points}
    assert set(found) == set(Level)
    for level, row in found.items():
        point = phantom.points[Target(CANAL, level)]
        assert row.instance_number == point.index + 1
        x, y = row.points[level]
        assert (x * row.original[1], y * row.original[0]) == pytest.approx(
            (point.image_point.column + 0.5, point.image_point.row + 0.5)
        )


def test_studies_without_a_folder_are_one_line_and_a_count(copy) -> None:
    """Tables are handed out without images, too: no line for each of their points."""

    def others(records: list[Record]) -> None:
        records += [r | {"study_id": str(n)} for n in range(20) for r in records[:25]]

    edit(copy / COORDINATES, others)
    table = rsna_foraminal(copy)
    assert len(table.rows) == 10
    assert table.skipped[WITHOUT_IMAGES] == 200
    (problem,) = table.problems
    assert f"{copy / COORDINATES}:" in problem
    assert "20 studies" in problem


def test_a_missing_image_is_told_by_line(phantom, copy) -> None:
    """One lost file costs its points, one line each, and nothing else."""
    point = phantom.points[Target(FORAMEN, Level.L3_L4, Side.LEFT)]
    series = copy / "train_images" / phantom.study_instance_uid
    lost = [p for p in phantom.points.values() if p.image_point.image == point.image_point.image]
    uid = point.image_point.image.series_instance_uid
    (series / uid / f"{point.index + 1}.dcm").unlink()
    table = rsna_foraminal(copy)
    assert len(table.rows) == 10 - len(lost)
    assert table.skipped[FAULTY] == len(table.problems) == len(lost)
    assert all(f"{copy / COORDINATES}:" in p and "is missing" in p for p in table.problems)


def test_a_broken_image_is_told_by_line(phantom, copy) -> None:
    """A file that is no DICOM is a problem, not a crash."""
    point = phantom.points[Target(CANAL, Level.L3_L4)]
    uid = point.image_point.image.series_instance_uid
    place = copy / "train_images" / phantom.study_instance_uid / uid / f"{point.index + 1}.dcm"
    place.write_bytes(b"no image")
    table = rsna_canal(copy)
    assert all(Level.L3_L4 not in row.points for row in table.rows)
    assert any("is not a readable DICOM image" in problem for problem in table.problems)


@pytest.mark.parametrize(
    ("fault", "problem_text"),
    [
        ({"condition": "Gout"}, "unknown condition 'Gout'"),
        ({"level": "T1/T2"}, "T1/T2"),
        ({"x": "far"}, "x is not a number"),
        ({"x": "-3"}, "outside the image"),
        ({"y": "1e6"}, "outside the image"),
        ({"series_id": "1.2"}, "series 1.2 is not described as Sagittal T1"),
    ],
)
def test_a_bad_coordinate_is_reported_by_line_and_skipped(copy, fault, problem_text) -> None:
    """One fault in the table of points is one problem, and costs one row."""
    changed = []

    def spoil(records: list[Record]) -> None:
        record = of(records, "Left Neural")[0]
        changed.append(records.index(record) + 2)
        record |= fault

    edit(copy / COORDINATES, spoil)
    table = rsna_foraminal(copy)
    assert len(table.rows) == 9
    (problem,) = table.problems
    assert problem.startswith(f"{copy / COORDINATES}:{changed[0]}: ")
    assert problem_text in problem


def test_missing_labels_and_repeated_points_are_left_out(phantom, copy) -> None:
    """Cleaning is silent and counted; of a repeated point the first is kept."""
    before = rsna_foraminal(copy).rows

    def repeat(records: list[Record]) -> None:
        records.append(of(records, "Left Neural", Level.L1_L2)[0] | {"x": "1"})

    edit(copy / COORDINATES, repeat)
    edit(
        copy / "train.csv",
        lambda records: records[0].update(left_neural_foraminal_narrowing_l5_s1=""),
    )
    table = rsna_foraminal(copy)
    assert not table.problems
    dropped = (Side.LEFT, Level.L5_S1)
    assert table.rows == tuple(r for r in before if (r.side, r.level) != dropped)
    assert sorted(count for count in table.skipped.values() if count) == [1, 1]


@pytest.mark.parametrize(
    ("read", "words"), [(rsna_foraminal, "Neural"), (rsna_axial, "Subarticular")]
)
def test_a_study_with_swapped_sides_is_left_out_and_told(copy, read, words) -> None:
    """Left points to the right of right ones: which is wrong cannot be known, so none is used."""

    def swap(records: list[Record]) -> None:
        for record in of(records, words):
            side, _, rest = record["condition"].partition(" ")
            record["condition"] = f"{'Right' if side == 'Left' else 'Left'} {rest}"

    edit(copy / COORDINATES, swap)
    table = read(copy)
    assert table.rows == ()
    assert table.skipped[CONTRADICT] == 10
    (problem,) = table.problems
    assert "left and right contradict each other at most levels" in problem


def test_one_recess_alone_gives_no_axial_row(copy) -> None:
    """Without the other side neither box nor span is known: left out and counted."""
    edit(copy / COORDINATES, lambda r: r.remove(of(r, "Right Subarticular", Level.L2_L3)[0]))
    table = rsna_axial(copy)
    assert {row.level for row in table.rows} == set(Level) - {Level.L2_L3}
    assert table.skipped[ONE_SIDED] == 1


@pytest.mark.parametrize("name", ["train.csv", COORDINATES, "train_series_descriptions.csv"])
def test_a_missing_table_is_refused(copy, name: str) -> None:
    """The error names the table."""
    (copy / name).unlink()
    with pytest.raises(BadSettings, match=f"{name} is missing"):
        rsna_foraminal(copy)


def test_a_folder_without_images_is_refused(copy) -> None:
    """The error says what the folder lacks."""
    shutil.rmtree(copy / "train_images")
    with pytest.raises(BadSettings, match="has no train_images"):
        rsna_canal(copy)


def test_the_real_study_gives_the_rows_of_the_real_index(real_data: Path) -> None:
    """The same foramina, grades and fractions come from DICOM tables as from pictures."""
    study = "1002894806"
    ours = {(r.side, r.level): r for r in rsna_foraminal(real_data / "rsna_2024").rows}
    index = read_foraminal(real_data / "sagittal_t1").rows
    theirs = {(r.side, r.level): r for r in index if r.study_id == study}
    assert set(ours) == set(theirs)
    for key, row in ours.items():
        other = theirs[key]
        assert replace(row, path=other.path, spacing=other.spacing, x_fraction=0, y_fraction=0) == (
            replace(other, x_fraction=0, y_fraction=0)
        )
        assert (row.x_fraction, row.y_fraction) == pytest.approx(
            (other.x_fraction, other.y_fraction)
        )


def test_the_real_study_has_canal_and_recesses_at_every_level(real_data: Path) -> None:
    """All five levels of the shipped study come out as axial and as canal rows."""
    axial = rsna_axial(real_data / "rsna_2024")
    assert {row.level for row in axial.rows} == set(Level)
    assert all(15 < row.span < 25 for row in axial.rows)
    canal = rsna_canal(real_data / "rsna_2024")
    assert {level for row in canal.rows for level in row.points} == set(Level)


def test_clicks_are_counted_from_the_edge_of_the_image(real_data: Path) -> None:
    """Canal points of the real study are whole steps of its screen (448 / 499) from x = 0.

    Counted from the first pixel's centre they would not be.
    """
    step = 448 / 499
    rows = [
        row
        for row in read_coordinates(real_data / "rsna_2024").rows
        if (row.study_id, row.target.condition) == ("1002894806", CANAL)
    ]
    assert len(rows) == 5
    for row in rows:
        assert row.x / step == pytest.approx(round(row.x / step), abs=1e-6)


def test_the_real_tables_are_sound(real_data: Path) -> None:
    """No row of the real tables is faulty."""
    assert not read_coordinates(real_data / "rsna_2024").problems
    assert not read_labels(real_data / "rsna_2024").problems
