"""The samples that a data folder and phantoms give to each network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import structlog

from worker.datasets.axial import AxialRow, read_axial
from worker.datasets.discs import read_masked_slices
from worker.datasets.foraminal import ForaminalRow, read_foraminal
from worker.datasets.rsna import read_coordinates, recess_points
from worker.datasets.rsna_rows import rsna_axial, rsna_canal, rsna_foraminal
from worker.datasets.tables import Table
from worker.errors import BadSettings
from worker.localise.heatmaps.windows import AXIAL_POINTS
from worker.models.registry import unknown
from worker.models.seam import NetworkSpec
from worker.phantom.lesions import TRAINING
from worker.training import real
from worker.training.recipe import Recipe
from worker.training.samples import DEFAULT_OPTIONS, GradeSet, PointSet, SampleOptions, join
from worker.training.synthetic import (
    PhantomSamples,
    join_samples,
    load_samples,
    phantom_samples,
    save_samples,
)

log = structlog.get_logger()

Set = TypeVar("Set", PointSet, GradeSet)
Row = TypeVar("Row", ForaminalRow, AxialRow)

T1: Final = "sagittal_t1"
T2: Final = "sagittal_t2"
AXIAL: Final = "axial_t2_crops"
CHALLENGE: Final = "rsna_2024"
PHANTOMS: Final = "phantoms"

LAYOUT: Final = (
    f"any of {T1}, {AXIAL} and {T2} (folders with an index.csv), and {CHALLENGE} (the challenge's "
    "tables and train_images), or the challenge's own folder itself"
)


class TrainingData:
    """The samples of one data folder, read when they are first needed."""

    def __init__(
        self, folder: Path | None, cache: Path, options: SampleOptions = DEFAULT_OPTIONS
    ) -> None:
        """`folder` None is phantoms alone; `cache` keeps rendered phantoms."""
        self.folder, self.cache, self.options = folder, cache, options
        if folder is None:
            return
        self._challenge = next(
            (f for f in (folder, folder / CHALLENGE) if (f / "train.csv").is_file()), None
        )
        if self._challenge is None and not any((folder / n).is_dir() for n in (T1, T2, AXIAL)):
            raise BadSettings(f"{folder} holds no training data: expected {LAYOUT}")

    def samples(self, recipe: Recipe, spec: NetworkSpec) -> PointSet | GradeSet:
        """All samples of a network, drawn by the recipe's shares.

        Raises `BadSettings` when there is none.
        """
        kind = check_samples(recipe, spec)
        parts = {n: part for n, part in kind.read(self).items() if len(part)} if self.folder else {}
        if recipe.phantoms:
            phantoms = self._phantoms(recipe.first_phantom, recipe.phantoms)
            if spec.samples in phantoms:
                parts[PHANTOMS] = phantoms[spec.samples]
        for name, part in parts.items():
            log.info("samples", network=recipe.network, source=name, count=len(part))
            share = np.full(len(part), recipe.shares.get(name, 1.0), dtype=np.float32)
            parts[name] = replace(part, shares=share)
        if not parts:
            raise BadSettings(f"{self.folder} holds nothing to train {recipe.network}: {LAYOUT}")
        joined: PointSet | GradeSet = join(list(parts.values()))
        return joined

    def foraminal_grades(self) -> dict[str, GradeSet]:
        """Crops around the foramina of sagittal T1."""
        return {"real": real.foraminal_grades(self._foramina(), self.options)}

    def axial_grades(self) -> dict[str, GradeSet]:
        """Crops around the canal of axial T2."""
        return {"real": real.axial_grades(self._axial(), self.options)}

    def axial_points(self) -> dict[str, PointSet]:
        """Canal and recesses of axial T2."""
        return {"real": real.canal_points(self._axial(), self._recesses(), self.options)}

    def sagittal_points(self) -> dict[str, PointSet]:
        """Foramina on T1, discs and canal from masks, and canals on T2."""
        assert self.folder is not None
        parts = {}
        if foramina := self._foramina():
            parts["real"] = real.foraminal_points(foramina)
        if (self.folder / T2).is_dir():
            parts["discs"] = real.disc_slices(logged(read_masked_slices(self.folder / T2)))
        if self._has_images and (canals := logged(rsna_canal(self._challenge_folder))):
            parts["canals"] = real.canal_slices(canals)
        return parts

    def _foramina(self) -> tuple[ForaminalRow, ...]:
        return self._both(T1, read_foraminal, rsna_foraminal)

    def _axial(self) -> tuple[AxialRow, ...]:
        return self._both(AXIAL, read_axial, rsna_axial)

    def _both(
        self,
        name: str,
        index: Callable[[Path], Table[Row]],
        challenge: Callable[[Path], Table[Row]],
    ) -> tuple[Row, ...]:
        """The rows of an index folder, and those of the challenge's studies not among them."""
        assert self.folder is not None
        folder = self.folder / name
        rows = logged(index(folder)) if folder.is_dir() else ()
        if self._has_images:
            known = {row.study_id for row in rows}
            rows += tuple(
                r for r in logged(challenge(self._challenge_folder)) if r.study_id not in known
            )
        return rows

    def _recesses(self) -> Any:  # noqa: ANN401 - what recess_points returns
        return recess_points(read_coordinates(self._challenge_folder)) if self._challenge else None

    @property
    def _has_images(self) -> bool:
        return self._challenge is not None and (self._challenge / "train_images").is_dir()

    @property
    def _challenge_folder(self) -> Path:
        assert self._challenge is not None
        return self._challenge

    def phantom_file(self, first: int, count: int) -> Path:
        """Where the samples of these phantoms are kept; other options have another file."""
        return self.cache / f"phantoms-{first}-{count}-{self.options.digest}.npz"

    def _phantoms(self, first: int, count: int) -> PhantomSamples:
        path = self.phantom_file(first, count)
        if path.is_file():
            return load_samples(path)
        log.info("rendering phantoms", count=count)
        made = make_phantoms(first, count, self.options)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_samples(made, path)
        return made


@dataclass(frozen=True)
class SampleKind:
    """Where the samples of a name come from: `read` gives them by source.

    `heads` names their labels.
    """

    heads: tuple[str, ...]
    read: Callable[[TrainingData], Mapping[str, Any]]
    sources: tuple[str, ...] = ("real",)


SAMPLES: Final[dict[str, SampleKind]] = {
    "sagittal_points": SampleKind(
        real.SAGITTAL_HEADS, TrainingData.sagittal_points, ("real", "discs", "canals")
    ),
    "axial_points": SampleKind(AXIAL_POINTS, TrainingData.axial_points),
    "foraminal_grades": SampleKind(real.FORAMINAL_HEADS, TrainingData.foraminal_grades),
    "axial_grades": SampleKind(real.AXIAL_GRADE_HEADS, TrainingData.axial_grades),
}
"""Samples by the name that a network's specification uses; phantoms are added to each."""


def check_samples(recipe: Recipe, spec: NetworkSpec) -> SampleKind:
    """Where a network's samples come from; raises `BadSettings` before any is read."""
    kind = SAMPLES.get(spec.samples)
    if kind is None:
        raise BadSettings(unknown("samples", spec.samples, SAMPLES))
    if strange := recipe.shares.keys() - {*kind.sources, PHANTOMS}:
        known = [*kind.sources, PHANTOMS]
        raise BadSettings(f"{recipe.network}: {unknown('samples', strange.pop(), known)}")
    labels = {*spec.heads, *(spec.mirror.get(head, head) for head in spec.heads)}
    if missing := labels - {*kind.heads}:
        raise BadSettings(
            f"{recipe.network}: the samples {spec.samples} have no label {', '.join(missing)}"
        )
    return kind


def make_phantoms(
    first_seed: int, count: int, options: SampleOptions, processes: int = 2
) -> PhantomSamples:
    """The samples of `count` phantoms, rich in lesions."""
    # A forked child of a process with torch in it can hang: spawn instead.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        seeds = range(first_seed, first_seed + count)
        return join_samples(
            pool.map(partial(phantom_samples, prevalence=TRAINING, options=options), seeds)
        )


def logged(table: Table[Any]) -> tuple[Any, ...]:
    """The rows of a table; its problems are logged by file and line."""
    for problem in table.problems:
        log.warning("row skipped", problem=problem)
    log.info("table read", summary=table.summary)
    return table.rows
