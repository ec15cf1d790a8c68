"""From a folder of labelled images to predictions beside the truth, out of fold.

A study is predicted only by members of the bundle that were not trained on it; a study that all
were trained on is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import torch

from dicom_sr.findings import Condition, Level, Probabilities, Severity, Side, Target
from worker.datasets.axial import AxialRow, read_axial
from worker.datasets.discs import disc_points, read_masked_slices
from worker.datasets.foraminal import read_foraminal
from worker.datasets.pictures import read_picture
from worker.datasets.slices import IndexedSlice, has_masks, read_slices
from worker.domain.crop import Crop, cut
from worker.errors import BadSettings
from worker.evaluation.crops import ForaminalCrops, cut_axial
from worker.evaluation.out_of_fold import by_members, provenance
from worker.evaluation.predictions import (
    GradePrediction,
    GradeSheet,
    PointPrediction,
    PointSheet,
    SagittalWeighting,
)
from worker.grade.crops import AXIAL, FORAMINAL, AxialGrades, Crops
from worker.localise.heatmaps import Heatmaps
from worker.localise.heatmaps.peaks import decode_levels
from worker.localise.heatmaps.windows import (
    SAGITTAL,
    SAGITTAL_SHAPE,
    Structure,
    channels,
    whole_window,
)
from worker.models.bundle import Bundle
from worker.models.calibration import at_temperature

Observe = Callable[[int, int], None]
"""Called with how many rows of how many are done."""

Row = TypeVar("Row")
Result = TypeVar("Result")

Marked = dict[Level, tuple[float, float]]
"""Where levels are marked on one picture, (x, y) in fractions of width and height."""

AT_ONCE: Final = 64
"""Pictures in memory at a time."""


def foraminal(folder: Path, bundle: Bundle, observe: Observe) -> GradeSheet:
    """Grade every foramen of a folder like `sagittal_t1`, at its annotated place.

    Raises BadSettings for a bundle whose grader cannot grade single pictures.
    """
    grader = _crop_grader(bundle)
    table, networks = read_foraminal(folder, labelled=False), (FORAMINAL,)
    crops, problems = ForaminalCrops(table.rows, grader.options), list(table.problems)
    cut_row = partial(crops.cut, context=grader.options.view_context)
    graded, done = [], 0
    for members, rows in by_members(table.rows, bundle, networks):
        for part, cuts in _read(rows, cut_row, problems):
            posteriors = grader.grade_foramina(cuts, members.runner)
            for row, posterior in zip(part, posteriors, strict=True):
                target = Target(Condition.NEURAL_FORAMINAL_NARROWING, row.level, row.side)
                file = _name(row.path, folder)
                graded.append(
                    _calibrated(bundle, row.study_id, file, target, posterior, row.severity)
                )
            observe(done := done + len(part), len(table.rows))
    studies = [row.study_id for row in table.rows]
    return GradeSheet(tuple(graded), provenance(bundle, networks, studies, problems))


def axial(folder: Path, bundle: Bundle, observe: Observe) -> GradeSheet:
    """Grade the canal and both recesses of every crop of a folder like `axial_t2_crops`.

    Raises BadSettings for a bundle whose grader cannot grade single pictures.
    """
    grader = _crop_grader(bundle)
    table, networks = read_axial(folder, labelled=False), (AXIAL,)
    cut_row = partial(cut_axial, options=grader.options, context=grader.options.view_context)
    problems, graded, done = list(table.problems), [], 0
    for members, rows in by_members(table.rows, bundle, networks):
        for part, cuts in _read(rows, cut_row, problems):
            for row, grades in zip(part, grader.grade_axial(cuts, members.runner), strict=True):
                graded += _axial_rows(bundle, row, grades, _name(row.path, folder))
            observe(done := done + len(part), len(table.rows))
    studies = [row.study_id for row in table.rows]
    return GradeSheet(tuple(graded), provenance(bundle, networks, studies, problems))


def levels(folder: Path, bundle: Bundle, observe: Observe) -> PointSheet:
    """Find and name the levels of every picture of a folder like `sagittal_t1` or `sagittal_t2`.

    The localiser gets one picture at a time and nothing else of its row. In a folder with masks
    it names discs on T2, in any other foramina on T1. Raises BadSettings for a bundle whose
    localiser cannot read single pictures.
    """
    localiser = _heatmap_localiser(bundle)
    table, networks = read_slices(folder), (SAGITTAL,)
    masks = has_masks(folder)
    problems, points, done = list(table.problems), [], 0
    truth = _marked_discs(folder, problems) if masks else _marked_foramina(folder)
    structure = Structure.DISC if masks else Structure.FORAMEN
    weighting = SagittalWeighting.T2 if masks else SagittalWeighting.T1
    for members, rows in by_members(table.rows, bundle, networks):
        for part, views in _read(rows, _view, problems):
            batch = torch.from_numpy(np.stack([view.pixels for view in views]))[:, None]
            logits = members.runner.run(SAGITTAL, batch)[:, channels(structure)]
            for row, view, scores in zip(part, views, torch.sigmoid(logits).numpy(), strict=True):
                for level, place, confidence in _places(view, scores, members, localiser):
                    marked = truth.get(row.file, {}).get(level)
                    points.append(
                        PointPrediction(
                            row.study_id,
                            row.file,
                            weighting,
                            level,
                            place,
                            confidence,
                            marked,
                            aspect=_aspect(row, view),
                        )
                    )
            observe(done := done + len(part), len(table.rows))
    studies = [row.study_id for row in table.rows]
    return PointSheet(tuple(points), provenance(bundle, networks, studies, problems))


def grades_pictures(bundle: Bundle) -> bool:
    """Whether `foraminal` and `axial` can grade single pictures with this bundle."""
    return isinstance(getattr(bundle.approach, "grader", None), Crops)


def locates_pictures(bundle: Bundle) -> bool:
    """Whether `levels` can read single pictures with this bundle."""
    return isinstance(getattr(bundle.approach, "localiser", None), Heatmaps)


def _crop_grader(bundle: Bundle) -> Crops:
    grader = getattr(bundle.approach, "grader", None)
    if not isinstance(grader, Crops):
        raise BadSettings(
            f"single pictures can be graded only by the grader {Crops.name!r}, this bundle has "
            f"{getattr(grader, 'name', bundle.approach.name)!r}: use lumbar evaluate rsna"
        )
    return grader


def _heatmap_localiser(bundle: Bundle) -> Heatmaps:
    localiser = getattr(bundle.approach, "localiser", None)
    if not isinstance(localiser, Heatmaps):
        raise BadSettings(
            f"levels of single pictures can be found only by the localiser {Heatmaps.name!r}, this "
            f"bundle has {getattr(localiser, 'name', bundle.approach.name)!r}: use lumbar evaluate "
            "rsna"
        )
    return localiser


def _calibrated(
    bundle: Bundle,
    study_id: str,
    file: str,
    target: Target,
    posterior: Probabilities,
    truth: Severity | None,
) -> GradePrediction:
    temperature = bundle.card.calibration[target.condition].temperature
    return GradePrediction(study_id, file, target, at_temperature(posterior, temperature), truth)


def _read(
    rows: Sequence[Row], read: Callable[[Row], Result], problems: list[str]
) -> Iterator[tuple[list[Row], list[Result]]]:
    """Rows and their images, some at a time; an image that cannot be read is a problem."""
    for start in range(0, len(rows), AT_ONCE):
        part: list[Row] = []
        results: list[Result] = []
        for row in rows[start : start + AT_ONCE]:
            try:
                results.append(read(row))
            except OSError as error:
                problems.append(str(error))
            else:
                part.append(row)
        if part:
            yield part, results


def _axial_rows(
    bundle: Bundle, row: AxialRow, grades: AxialGrades, file: str
) -> list[GradePrediction]:
    recess = Condition.SUBARTICULAR_STENOSIS
    graded = [
        (Target(Condition.SPINAL_CANAL_STENOSIS, row.level), grades.canal, row.canal),
        (Target(recess, row.level, Side.LEFT), grades.recesses[Side.LEFT], row.left),
        (Target(recess, row.level, Side.RIGHT), grades.recesses[Side.RIGHT], row.right),
    ]
    return [_calibrated(bundle, row.study_id, file, *one) for one in graded]


def _view(row: IndexedSlice) -> Crop:
    picture = read_picture(row.path, row.original)
    rows, columns = picture.pixels.shape
    return cut(picture.pixels, whole_window(rows, columns, picture.grid), SAGITTAL_SHAPE)


def _places(
    view: Crop, scores: np.ndarray, bundle: Bundle, localiser: Heatmaps
) -> Iterator[tuple[Level, tuple[float, float] | None, float]]:
    """Each level's place in fractions of the picture and its confidence; None where not found."""
    # The window is centred on the picture and spans at least all of it.
    columns, rows = 2 * view.window.column + 1, 2 * view.window.row + 1
    peaks = decode_levels(scores, localiser.options)
    for level in Level:
        if level not in peaks:
            yield level, None, 0.0
            continue
        peak = peaks[level]
        column, row = view.to_image_px(peak.column, peak.row)
        place = (column + 0.5) / columns, (row + 0.5) / rows
        yield level, place, bundle.runner.platt(SAGITTAL, peak.score)


def _aspect(row: IndexedSlice, view: Crop) -> float:
    """The original height over its width."""
    if row.original is not None:
        return row.original[0] / row.original[1]
    return (2 * view.window.row + 1) / (2 * view.window.column + 1)


def _marked_foramina(folder: Path) -> dict[str, Marked]:
    marked: dict[str, Marked] = {}
    for row in read_foraminal(folder, labelled=False).rows:
        place = (row.x_fraction, row.y_fraction)
        marked.setdefault(_name(row.path, folder), {}).setdefault(row.level, place)
    return marked


def _marked_discs(folder: Path, problems: list[str]) -> dict[str, Marked]:
    marked: dict[str, Marked] = {}
    for item in read_masked_slices(folder).rows:
        try:
            rows, columns = read_picture(item.mask).pixels.shape
            marked[_name(item.path, folder)] = {
                point.level: ((point.disc[0] + 0.5) / columns, (point.disc[1] + 0.5) / rows)
                for point in disc_points(item.mask)
            }
        except OSError as error:
            problems.append(str(error))
    return marked


def _name(path: Path, folder: Path) -> str:
    """A picture's name as its index writes it."""
    return path.relative_to(folder).as_posix()
