"""Evaluation of the recogniser: how often it decides and how often it is wrong, by source.

Its network was trained on outlines from SPIDER only, never on a weighting. The limits were
chosen on the calibration halves and tightened after four wrong slices of a test half, so no
source is independent of the choice of the limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import Level
from worker.archive.folder import FolderArchive
from worker.datasets.discs import MaskedSlice, MaskKind, disc_points, read_masked_slices
from worker.datasets.folds import fold_of
from worker.datasets.foraminal import ForaminalRow, pool_by_side, read_foraminal
from worker.datasets.pictures import Picture, read_picture
from worker.domain.crop import Grid
from worker.domain.geometry import Orientation
from worker.domain.study import Role, SliceHeader, Unreadable
from worker.grade.crop_windows import CropOptions
from worker.intake.decoding import decode
from worker.intake.headers import read_study
from worker.intake.weighting import Weighting, decide_weighting
from worker.phantom import SMALL, make_phantom
from worker.recognise.recogniser import SliceRecogniser

T1_FOLDER: Final = "sagittal_t1"
T2_FOLDER: Final = "sagittal_t2"
_LOWER_SPINE: Final = "lowerspine"
_LOWER_SPINE_MM: Final = 1.25
_CROPS: Final = CropOptions()
_DISC_SPACING_MM: Final = 1.1 * _CROPS.nominal_spacing_mm
"""Discs curve farther back than foramina, and so lie farther apart."""
_USUAL_HEIGHT_MM: Final = 280.0
_PHANTOMS: Final = 20
_PHANTOM_WEIGHTINGS: Final = {
    Role.SAGITTAL_T1: Weighting.T1,
    Role.SAGITTAL_T2: Weighting.T2,
}
_MIDDLE: Final = 2
"""Slices on each side of the middle one that count as the middle of a whole study."""

Pixels = tuple[NDArray[np.float32], Grid]
"""A slice (rows, columns) and its grid in millimetres."""


@dataclass(frozen=True)
class KnownSlice:
    """One slice of known weighting; None if the recogniser must not decide."""

    source: str
    study_id: str
    truth: Weighting | None
    read: Callable[[], Pixels]


@dataclass(frozen=True)
class RecognisedSlice:
    """A slice and the weighting that the recogniser decided on, None without a decision."""

    known: KnownSlice
    decision: Weighting | None


@dataclass(frozen=True)
class RecognitionCounts:
    """Counts of the slices of one source and weighting: all, decided and wrong ones."""

    source: str
    truth: Weighting | None
    slices: int
    studies: int
    decided: int
    wrong: int


def recognition_counts(slices: Sequence[RecognisedSlice]) -> tuple[RecognitionCounts, ...]:
    """The counts of each source and weighting, in order of appearance."""
    counts = []
    for source, truth in dict.fromkeys((s.known.source, s.known.truth) for s in slices):
        group = [s for s in slices if (s.known.source, s.known.truth) == (source, truth)]
        decided = [s.decision for s in group if s.decision is not None]
        counts.append(
            RecognitionCounts(
                source,
                truth,
                slices=len(group),
                studies=len({s.known.study_id for s in group}),
                decided=len(decided),
                wrong=sum(weighting is not truth for weighting in decided),
            )
        )
    return tuple(counts)


def recognise_slices(
    slices: Sequence[KnownSlice], recogniser: SliceRecogniser
) -> tuple[RecognisedSlice, ...]:
    """Run the recogniser on every slice; skip slices that cannot be read."""
    recognised = []
    for known in slices:
        try:
            pixels, grid = known.read()
        except OSError:
            continue
        recognised.append(RecognisedSlice(known, recogniser.recognise(pixels, grid).weighting))
    return tuple(recognised)


def known_slices(data: Path) -> tuple[KnownSlice, ...]:
    """Every sagittal slice of known weighting in a data folder, and slices of phantoms.

    The masked slices are repeated inverted: the recogniser must not decide on those.
    """
    masked = tuple(_masked(data / T2_FOLDER)) if (data / T2_FOLDER).is_dir() else ()
    return (
        *(_foraminal(data / T1_FOLDER) if (data / T1_FOLDER).is_dir() else ()),
        *masked,
        *_studies(data),
        *_phantoms(),
        *map(_inverted, masked),
    )


def _half(source: str, study_id: str) -> str:
    """The half of a source: limits were chosen on one half and tightened on the other."""
    return f"{source}, {'test' if fold_of(study_id, 2) else 'calibration'}"


def _inverted(known: KnownSlice) -> KnownSlice:
    def read() -> Pixels:
        pixels, grid = known.read()
        return pixels.max() - pixels, grid

    return replace(known, source=f"{known.source}, inverted", truth=None, read=read)


def scaled_grid(item: MaskedSlice, picture: Picture) -> Grid:
    """The grid of a SPIDER slice in millimetres, from the spacing of its discs."""
    discs = {point.level: np.array(point.disc) for point in disc_points(item.mask)}
    return _scaled(picture, _CROPS.level_spacing(discs), _DISC_SPACING_MM, picture.pixels.shape[0])


def _scaled(picture: Picture, spacing: float | None, spacing_mm: float, height: float) -> Grid:
    """A grid in millimetres from the spacing of the levels in the picture's unit, if known."""
    mm = spacing_mm / spacing if spacing else _USUAL_HEIGHT_MM / height
    return Grid(mm * picture.grid.column_spacing, mm * picture.grid.row_spacing)


def _foraminal(folder: Path) -> Iterator[KnownSlice]:
    """Slices beside the midline: few show the canal, and none was used for training."""
    rows = read_foraminal(folder).rows
    pooled = pool_by_side(rows)
    for row in {row.path: row for row in rows}.values():
        levels = pooled[row.study_id, row.series_id, row.side]
        source = _half("RSNA T1, foraminal slices", row.study_id)
        yield KnownSlice(source, row.study_id, Weighting.T1, partial(_read_foraminal, row, levels))


def _read_foraminal(row: ForaminalRow, levels: Mapping[Level, ForaminalRow]) -> Pixels:
    picture = read_picture(row.path, row.original)
    spacing = _CROPS.level_spacing(
        {level: np.array(other.physical) for level, other in levels.items()}
    )
    return picture.pixels, _scaled(picture, spacing, _CROPS.nominal_spacing_mm, row.extent[0])


def _masked(folder: Path) -> Iterator[KnownSlice]:
    for item in read_masked_slices(folder, needing=(MaskKind.VERTEBRA,)).rows:
        lower = item.study_id.startswith(_LOWER_SPINE)
        source = _half("lower spine", item.study_id) if lower else "SPIDER (training outlines)"
        yield KnownSlice(source, item.study_id, Weighting.T2, partial(_read_masked, item))


def _read_masked(item: MaskedSlice) -> Pixels:
    picture = read_picture(item.path)
    if item.study_id.startswith(_LOWER_SPINE):
        return picture.pixels, Grid(_LOWER_SPINE_MM, _LOWER_SPINE_MM)
    return picture.pixels, scaled_grid(item, picture)


def _studies(data: Path) -> Iterator[KnownSlice]:
    """The middle of the sagittal series of whole DICOM studies, weighted by their headers.

    Only plain T1 and T2: STIR, fat suppression and contrast are left out.
    """
    archive = FolderArchive()
    for folder in sorted(data.glob("rsna_2024/*_images/*")):
        for series in read_study(archive.headers(str(folder))).series:
            truth = decide_weighting(series.acquisition).weighting
            planes = {header.plane.orientation for header in series.slices}
            if planes != {Orientation.SAGITTAL} or truth not in (Weighting.T1, Weighting.T2):
                continue
            ordered = sorted(series.slices, key=lambda header: header.plane.offset_mm)
            middle = len(ordered) // 2
            for header in ordered[max(0, middle - _MIDDLE) : middle + _MIDDLE + 1]:
                read = partial(_read_dicom, archive, header)
                yield KnownSlice("whole DICOM studies, middle", folder.name, truth, read)


def _read_dicom(archive: FolderArchive, header: SliceHeader) -> Pixels:
    ((_, content),) = archive.fetch([header.key])
    frames = decode(header.key, content)
    if isinstance(frames, Unreadable):
        raise OSError(f"{header.key} cannot be decoded: {frames.error}")
    return frames[0], header.plane.grid


def _phantoms() -> Iterator[KnownSlice]:
    for seed in range(_PHANTOMS):
        for role, truth in _PHANTOM_WEIGHTINGS.items():
            read = partial(_read_phantom, seed, role)
            yield KnownSlice("phantoms, middle", f"phantom{seed}", truth, read)


def _read_phantom(seed: int, role: Role) -> Pixels:
    series = make_phantom(seed, slices=SMALL).of(role)
    middle = len(series.pixels) // 2
    return series.pixels[middle].astype(np.float32), series.planes[middle].grid
