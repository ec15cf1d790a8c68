"""What the recogniser's outlines are learnt from."""

import csv

import numpy as np
import pytest
from PIL import Image

from worker.errors import BadSettings
from worker.evaluation.recogniser_evaluation import T2_FOLDER
from worker.training.outlines import read_samples


def test_masks_that_lack_a_structure_are_not_learnt_from(tmp_path):
    """A canal that nobody outlined is no background."""
    folder = tmp_path / T2_FOLDER
    folder.mkdir()
    for name in ("a.png", "a_mask.png"):
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(folder / name)
    row = {
        "study_id": "1",
        "file": "a.png",
        "mask": "a_mask.png",
        "mask_classes": "vertebra and disc",
    }
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    with pytest.raises(BadSettings, match="lists no mask of bodies, discs and canal"):
        read_samples(tmp_path)
