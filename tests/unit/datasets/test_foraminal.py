"""The foraminal index: what is read, what is left out, and the reported problems."""

from pathlib import Path
from typing import Any

import pytest

from dicom_sr.findings import Level, Severity, Side
from worker.datasets.foraminal import pool_by_side, read_foraminal
from worker.datasets.slices import read_slices
from worker.datasets.tables import FAULTY
from worker.errors import BadSettings


def foramen(side: Side, level: Level, **changes: Any) -> dict[str, Any]:
    """A sound row; left foramina lie on slice 12, right ones on slice 4."""
    number = 12 if side is Side.LEFT else 4
    row = {
        "study_id": "77",
        "series_id": "1",
        "instance_number": number,
        "file": f"77_1_{number}.png",
        "side": side.value,
        "level": level.value,
        "severity": 1,
        "x_fraction": 0.5,
        "y_fraction": 0.25,
        "height": 760,
        "width": 640,
    }
    return row | changes


def sound() -> list[dict[str, Any]]:
    """All ten foramina of a study."""
    return [foramen(side, level) for side in Side for level in Level]


def test_a_sound_index_is_read_whole(write_index) -> None:
    """Every row comes out, in the original's proportions, and there is no problem."""
    table = read_foraminal(write_index(sound()))
    assert len(table.rows) == 10
    assert not table.problems
    assert table.summary.startswith("10 rows")
    assert table.rows[0].severity is Severity.MODERATE
    assert table.rows[0].physical == (320, 190)
    assert {key[2] for key in pool_by_side(table.rows)} == set(Side)


@pytest.mark.parametrize(
    ("fault", "problem_text"),
    [
        ({"level": "L6/S1"}, "L6/S1"),
        ({"side": "up"}, "up"),
        ({"severity": "Mild"}, "unknown severity 'Mild'"),
        ({"x_fraction": "a"}, "x_fraction is not a number"),
        ({"y_fraction": "nan"}, "y_fraction is not a number"),
        ({"x_fraction": "1.2"}, "outside the image"),
        ({"instance_number": "1.5"}, "instance_number is not an integer"),
        ({"height": 0}, "image size 0 x 640"),
        ({"file": "gone.png"}, "file 'gone.png' is missing"),
    ],
)
def test_a_bad_row_is_reported_by_line_and_skipped(write_index, fault, problem_text) -> None:
    """One fault is one problem with file and line, one count, and costs one row."""
    rows = sound()
    rows[3] |= fault
    folder = write_index(rows, missing=["gone.png"])
    table = read_foraminal(folder)
    assert len(table.rows) == 9
    assert table.skipped[FAULTY] == 1
    (problem,) = table.problems
    assert problem.startswith(f"{folder / 'index.csv'}:5: ")
    assert problem_text in problem


def test_a_row_of_the_wrong_length_is_a_problem(write_index) -> None:
    """Too few or too many cells are never read as values."""
    index = write_index(sound()) / "index.csv"
    lines = index.read_text().splitlines()
    lines[1] = lines[1].rpartition(",")[0]
    lines[2] += ",9"
    index.write_text("\n".join(lines))
    table = read_foraminal(index.parent)
    assert len(table.rows) == 8
    assert [":2: " in p or ":3: " in p for p in table.problems] == [True, True]


def test_a_missing_column_is_told_once(write_index) -> None:
    """Without a column no row can be read: one line says so, and counts them."""
    rows = [{k: v for k, v in row.items() if k != "x_fraction"} for row in sound()]
    table = read_foraminal(write_index(rows))
    assert table.rows == ()
    assert table.skipped[FAULTY] == 10
    (problem,) = table.problems
    assert "index.csv:1: missing column x_fraction" in problem


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    """The error names the folder and what it should hold."""
    with pytest.raises(BadSettings, match=rf"{tmp_path} has no index\.csv.*x_fraction"):
        read_foraminal(tmp_path)


def test_missing_labels_and_repeated_points_are_left_out(write_index) -> None:
    """Cleaning is silent, counted, and keeps the first of two points."""
    rows = [*sound(), foramen(Side.LEFT, Level.L1_L2, x_fraction=0.9)]
    rows[5]["severity"] = ""
    table = read_foraminal(write_index(rows))
    assert len(table.rows) == 9
    assert table.rows[0].x_fraction == 0.5
    assert not table.problems
    assert sorted(count for count in table.skipped.values() if count) == [1, 1]


def test_sides_on_one_slice_are_left_out_and_told(write_index) -> None:
    """A series whose left and right foramina share a slice teaches no sides."""
    rows = [row | {"instance_number": 9, "file": "one.png"} for row in sound()]
    table = read_foraminal(write_index(rows))
    assert table.rows == ()
    (problem,) = table.problems
    assert "study 77, series 1: left and right contradict" in problem
    assert "10 points left out" in problem


@pytest.mark.parametrize("column", ["empty", "absent"])
def test_an_index_without_labels_can_be_graded(write_index, column: str) -> None:
    """Asked for, rows without a severity are kept, whatever the sides."""
    rows = [row | {"severity": "", "instance_number": 9} for row in sound()]
    if column == "absent":
        rows = [{k: v for k, v in row.items() if k != "severity"} for row in rows]
    folder = write_index(rows)
    table = read_foraminal(folder, labelled=False)
    assert [row.severity for row in table.rows] == [None] * 10
    assert not table.problems
    assert read_foraminal(folder).rows == ()


def test_pictures_alone_are_read_once_each(write_index) -> None:
    """Whoever must not see labels gets every picture once, with its original shape."""
    table = read_slices(write_index(sound()))
    assert [(s.file, s.original) for s in table.rows] == [
        ("77_1_12.png", (760, 640)),
        ("77_1_4.png", (760, 640)),
    ]


def test_the_real_index_is_read(real_data: Path) -> None:
    """The index is sound; only both sides on one slice are left out, a study at a time."""
    table = read_foraminal(real_data / "sagittal_t1")
    assert len(table.rows) > 15000
    assert sum(table.skipped.values()) < 0.01 * len(table.rows)
    assert FAULTY not in table.skipped
    assert len(read_foraminal(real_data / "sagittal_t1", labelled=False).rows) == len(
        table.rows
    ) + sum(table.skipped.values())
