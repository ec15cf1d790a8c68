"""Tiny index folders made by hand, and phantoms in the competition's layout."""

import csv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from worker.phantom.protocol import SMALL
from worker.phantom.study import Phantom, make_phantom
from worker.phantom.writing import write_phantom

WriteIndex = Callable[..., Path]


@pytest.fixture
def write_index(tmp_path: Path) -> WriteIndex:
    """Write `index.csv` and a grey picture for each file it names, `missing` ones excepted."""

    def write(rows: Iterable[Mapping[str, Any]], missing: Iterable[str] = ()) -> Path:
        rows = list(rows)
        for row in rows:
            for column in ("file", "mask"):
                if (name := row.get(column)) and name not in missing:
                    Image.fromarray(np.full((25, 25), 90, np.uint8)).save(tmp_path / name)
        with (tmp_path / "index.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return tmp_path

    return write


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    """A small study with known truth."""
    return make_phantom(11, slices=SMALL)


@pytest.fixture(scope="session")
def rsna_folder(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same on disk; tests copy it before they change it."""
    folder = tmp_path_factory.mktemp("rsna")
    write_phantom(phantom, folder)
    return folder
