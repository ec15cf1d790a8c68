"""The index of sagittal T2 slices with masks."""

from pathlib import Path

import pytest

from worker.datasets.discs import MaskKind, read_masked_slices
from worker.datasets.tables import FAULTY
from worker.errors import BadSettings

SPIDER = "vertebra, disc and canal as separate grey values"
LOWER = "vertebral bodies only"


def row(name: str, classes: str) -> dict[str, str]:
    """A row with a picture and a mask of its own."""
    return {
        "study_id": name,
        "slice": "4",
        "file": f"{name}.png",
        "mask": f"{name}_mask.png",
        "mask_classes": classes,
    }


def test_masks_are_known_by_what_they_show(write_index) -> None:
    """Vertebrae alone are kept when nothing else is needed, and left out by default."""
    folder = write_index([row("spider1", SPIDER), row("lowerspine1", LOWER)])
    every = read_masked_slices(folder, needing=()).rows
    assert [item.kinds for item in every] == [set(MaskKind), {MaskKind.VERTEBRA}]
    discs = read_masked_slices(folder)
    assert [item.study_id for item in discs.rows] == ["spider1"]
    assert sum(discs.skipped.values()) == 1


def test_a_missing_mask_or_an_unknown_kind_is_told(write_index) -> None:
    """Neither is guessed: a problem by line each."""
    rows = [row("a", SPIDER), row("b", SPIDER), row("c", "fat")]
    table = read_masked_slices(write_index(rows, missing=["b_mask.png"]))
    assert [item.study_id for item in table.rows] == ["a"]
    assert table.skipped[FAULTY] == 2
    assert "index.csv:3: mask 'b_mask.png' is missing" in table.problems[0]
    assert "index.csv:4: unknown mask classes 'fat'" in table.problems[1]


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    """The error names the folder and what it should hold."""
    with pytest.raises(BadSettings, match=r"has no index\.csv.*mask_classes"):
        read_masked_slices(tmp_path)


def test_the_real_index_is_read(real_data: Path) -> None:
    """Every row names a picture, a mask and known structures."""
    table = read_masked_slices(real_data / "sagittal_t2", needing=())
    assert not table.problems
    spider = [item for item in table.rows if item.study_id.startswith("spider")]
    assert spider
    assert all(MaskKind.DISC in item.kinds for item in spider)
    assert len(read_masked_slices(real_data / "sagittal_t2").rows) == len(spider)
