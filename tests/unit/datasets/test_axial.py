"""The index of axial crops."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dicom_sr.findings import Level, Severity
from worker.datasets.axial import BOX_SPANS, read_axial
from worker.datasets.tables import FAULTY
from worker.errors import BadSettings


def crop(level: Level, **changes: Any) -> dict[str, Any]:
    """A sound row."""
    row = {
        "study_id": "77",
        "series_id": "1",
        "instance_number": 5,
        "file": f"{level.name}.png",
        "level": level.value,
        "level_confirmed": True,
        "x_min": 265.0,
        "y_min": 322.0,
        "x_max": 370.0,
        "y_max": 365.0,
        "image_height": 640,
        "image_width": 640,
        "spinal_canal_stenosis": 0,
        "left_subarticular_stenosis": "",
        "right_subarticular_stenosis": 2,
    }
    return row | changes


GRADES = [name for name in crop(Level.L1_L2) if name.endswith("stenosis")]


def test_a_row_keeps_what_it_says(write_index) -> None:
    """Grades, box, certainty of the level and the place of the crop in its image."""
    folder = write_index([crop(Level.L4_L5, level_confirmed=False)])
    (row,) = read_axial(folder).rows
    assert (row.canal, row.left, row.right) == (Severity.NORMAL_MILD, None, Severity.SEVERE)
    assert not row.level_confirmed
    assert row.corner_px == (212, 279)
    assert row.span == pytest.approx(105 / BOX_SPANS)


@pytest.mark.parametrize(
    ("fault", "problem_text"),
    [
        ({"level": "L3"}, "L3"),
        ({"x_max": 265.0}, "the box is empty"),
        ({"y_min": "top"}, "y_min is not a number"),
        ({"level_confirmed": "perhaps"}, "neither True nor False"),
        ({"right_subarticular_stenosis": 3}, "unknown severity"),
        ({"image_width": -1}, "image size 640 x -1"),
        ({"file": "gone.png"}, "is missing"),
    ],
)
def test_a_bad_row_is_reported_by_line_and_skipped(write_index, fault, problem_text) -> None:
    """One fault is one problem with file and line, and costs one row."""
    folder = write_index([crop(Level.L1_L2), crop(Level.L2_L3) | fault], missing=["gone.png"])
    table = read_axial(folder)
    assert [row.level for row in table.rows] == [Level.L1_L2]
    assert table.skipped[FAULTY] == 1
    assert "index.csv:3: " in table.problems[0]
    assert problem_text in table.problems[0]


def test_rows_without_a_grade_or_repeated_are_left_out(write_index) -> None:
    """Cleaning leaves out what teaches nothing or twice, silently and counted."""
    bare = dict.fromkeys(GRADES, "")
    rows = [crop(Level.L1_L2), crop(Level.L1_L2), crop(Level.L2_L3, **bare)]
    table = read_axial(write_index(rows))
    assert len(table.rows) == 1
    assert sum(table.skipped.values()) == 2
    assert not table.problems


def test_an_index_without_labels_can_be_graded(write_index) -> None:
    """Asked for, the columns of grades may be absent."""
    rows = [{k: v for k, v in crop(level).items() if k not in GRADES} for level in Level]
    folder = write_index(rows)
    assert len(read_axial(folder, labelled=False).rows) == 5
    assert "missing column" in read_axial(folder).problems[0]


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    """The error names the folder and what it should hold."""
    with pytest.raises(BadSettings, match=r"has no index\.csv.*x_min"):
        read_axial(tmp_path)


def test_the_real_crops_lie_where_their_rows_say(real_data: Path) -> None:
    """Corner and picture together end where the grown box ends, to the pixel."""
    rows = read_axial(real_data / "axial_t2_crops").rows
    assert len(rows) > 2000
    for row in rows[::40]:
        with Image.open(row.path) as image:
            columns, lines = image.size
        x_min, y_min, x_max, y_max = row.box
        right = min(row.original[1], x_max + (x_max - x_min) / 2)
        bottom = min(row.original[0], y_max + (y_max - y_min))
        assert right - 1 < row.corner_px[0] + columns <= right + 1e-6
        assert bottom - 1 - 1e-6 < row.corner_px[1] + lines <= bottom + 1e-6
