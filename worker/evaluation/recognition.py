"""How often the recogniser decides, and how often it is wrong, source by source.

No weighting was ever a target of its training. Outlines were learnt from SPIDER alone, limits
chosen on the calibration halves and tightened after four wrong slices of a test half: no source
is one that nobody had looked at when the limits were chosen.
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
from worker.grade.windows import NOMINAL_SPACING_MM, level_spacing
from worker.intake.decoding import decode
from worker.intake.headers import read_study
from worker.intake.weighting import Weighting, decide_weighting
from worker.phantom import SMALL, make_phantom
from worker.recognise.recogniser import SliceRecogniser

T1_FOLDER: Final = "sagittal_t1"
T2_FOLDER: Final = "sagittal_t2"
_LOWER_SPINE: Final = "lowerspine"
_LOWER_SPINE_MM: Final = 1.25
_DISC_SPACING_MM: Final = 1.1 * NOMINAL_SPACING_MM
"""Discs curve farther back than foramina, and so lie farther apart."""
_USUAL_HEIGHT_MM: Final = 280.0
_PHANTOMS: Final = 20
_PHANTOM_WEIGHTINGS: Final = {
    Role.SAGITTAL_T1: Weighting.T1,
    Role.SAGITTAL_T2: Weighting.T2,
}
_MIDDLE: Final = 2
"""So many slices to both sides of the middle one count as the middle of a whole study."""

Pixels = tuple[NDArray[np.float32], Grid]
"""A slice (rows, columns) and its grid in millimetres."""


@dataclass(frozen=True)
class KnownSlice:
    """One slice of a known weighting (None where nothing may be seen in it)."""

    source: str
    study_id: str
    truth: Weighting | None
    read: Callable[[], Pixels]


@dataclass(frozen=True)
class Looked:
    """What the recogniser saw in a slice."""

    known: KnownSlice
    seen: Weighting | None


@dataclass(frozen=True)
class Figures:
    """Of the slices of one source and weighting: how many were decided, how many wrongly."""

    source: str
    truth: Weighting | None
    slices: int
    studies: int
    decided: int
    wrong: int


def figures(looked: Sequence[Looked]) -> tuple[Figures, ...]:
    """The account of each source and weighting, in the order in which they come."""
    found = []
    for source, truth in dict.fromkeys((one.known.source, one.known.truth) for one in looked):
        here = [one for one in looked if (one.known.source, one.known.truth) == (source, truth)]
        said = [one.seen for one in here if one.seen is not None]
        found.append(
            Figures(
                source,
                truth,
                slices=len(here),
                studies=len({one.known.study_id for one in here}),
                decided=len(said),
                wrong=sum(weighting is not truth for weighting in said),
            )
        )
    return tuple(found)


def look_at(slices: Sequence[KnownSlice], recogniser: SliceRecogniser) -> tuple[Looked, ...]:
    """Show every slice to the recogniser; one that cannot be read is left out."""
    looked = []
    for known in slices:
        try:
            pixels, grid = known.read()
        except OSError:
            continue
        looked.append(Looked(known, recogniser.recognise(pixels, grid).weighting))
    return tuple(looked)


def known_slices(data: Path) -> tuple[KnownSlice, ...]:
    """Every sagittal slice of known weighting below a data folder, and of some phantoms.

    The masked slices come a second time, inverted: nothing may be seen in those.
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
    """The half of a source: limits were chosen on one, and tightened after a look at the other."""
    return f"{source}, {'test' if fold_of(study_id, 2) else 'calibration'}"


def _inverted(known: KnownSlice) -> KnownSlice:
    def read() -> Pixels:
        pixels, grid = known.read()
        return pixels.max() - pixels, grid

    return replace(known, source=f"{known.source}, inverted", truth=None, read=read)


def scaled_grid(item: MaskedSlice, picture: Picture) -> Grid:
    """The grid of a SPIDER slice in millimetres, from the spacing of its discs."""
    discs = {point.level: np.array(point.disc) for point in disc_points(item.mask)}
    return _scaled(picture, level_spacing(discs), _DISC_SPACING_MM, picture.pixels.shape[0])


def _scaled(picture: Picture, spacing: float | None, spacing_mm: float, height: float) -> Grid:
    """A grid in millimetres where the spacing of the levels is known in the picture's unit."""
    mm = spacing_mm / spacing if spacing else _USUAL_HEIGHT_MM / height
    return Grid(mm * picture.grid.column_spacing, mm * picture.grid.row_spacing)


def _foraminal(folder: Path) -> Iterator[KnownSlice]:
    """Slices beside the midline: few show the canal, none was learnt from."""
    rows = read_foraminal(folder).rows
    pooled = pool_by_side(rows)
    for row in {row.path: row for row in rows}.values():
        levels = pooled[row.study_id, row.series_id, row.side]
        source = _half("RSNA T1, foraminal slices", row.study_id)
        yield KnownSlice(source, row.study_id, Weighting.T1, partial(_read_foraminal, row, levels))


def _read_foraminal(row: ForaminalRow, levels: Mapping[Level, ForaminalRow]) -> Pixels:
    picture = read_picture(row.path, row.original)
    spacing = level_spacing({level: np.array(other.physical) for level, other in levels.items()})
    return picture.pixels, _scaled(picture, spacing, NOMINAL_SPACING_MM, row.extent[0])


def _masked(folder: Path) -> Iterator[KnownSlice]:
    for item in read_masked_slices(folder, needing=(MaskKind.VERTEBRA,)).rows:
        lower = item.study_id.startswith(_LOWER_SPINE)
        source = _half("lower spine", item.study_id) if lower else "SPIDER (outlines learnt)"
        yield KnownSlice(source, item.study_id, Weighting.T2, partial(_read_masked, item))


def _read_masked(item: MaskedSlice) -> Pixels:
    picture = read_picture(item.path)
    if item.study_id.startswith(_LOWER_SPINE):
        return picture.pixels, Grid(_LOWER_SPINE_MM, _LOWER_SPINE_MM)
    return picture.pixels, scaled_grid(item, picture)


def _studies(data: Path) -> Iterator[KnownSlice]:
    """The middle of the sagittal series of whole DICOM studies, whose names tell their weighting.

    What its headers call T1 or T2: STIR, fat suppression and contrast are left out.
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
