"""When the names of the levels are not trusted: on heatmaps painted by hand."""

import numpy as np
import pytest

from dicom_sr.findings import ImageReference, Level, NotAssessedReason
from worker.domain.crop import cut
from worker.domain.geometry import Plane
from worker.domain.study import Role, SliceHeader
from worker.domain.volume import Volume
from worker.localise.heatmaps.level_checks import (
    canal_problem,
    disagreements,
    numbering_problem,
    series_problem,
    shifted_share,
)
from worker.localise.heatmaps.options import HeatmapOptions
from worker.localise.heatmaps.peaks import decode_levels
from worker.localise.heatmaps.views import SagittalView
from worker.localise.heatmaps.windows import (
    SAGITTAL_POINTS,
    SAGITTAL_SHAPE,
    Structure,
    channels,
    whole_window,
)

OPTIONS = HeatmapOptions()
LEVELS = list(Level)
ROWS = dict(zip(Level, (8, 18, 28, 38, 48), strict=True))
BELOW, ABOVE = 58, 2


def heat(own: dict[Level, float], moved: float = 0.0, step: int = 1) -> np.ndarray:
    """Each level's heat at its place, and a share of it where its neighbour is."""
    maps = np.zeros((5, 64, 64), dtype=np.float32)
    for n, level in enumerate(LEVELS):
        rows = [ABOVE, *ROWS.values(), BELOW]
        maps[n, rows[n + 1], 30] = own.get(level, 0.0)
        maps[n, rows[n + 1 + step], 30] = moved * own.get(level, 0.0)
    return maps


SURE = dict.fromkeys(Level, 0.9)


@pytest.mark.parametrize(
    ("own", "moved", "reason"),
    [
        (SURE, 0.0, None),
        (SURE, 0.6, None),
        ({**SURE, Level.L1_L2: 0.0}, 0.0, None),
        ({**SURE, Level.L5_S1: 0.2}, 0.0, None),
        ({**SURE, Level.L1_L2: 0.2, Level.L2_L3: 0.2}, 0.0, NotAssessedReason.TOO_FEW_LEVELS),
        ({Level.L4_L5: 0.9, Level.L5_S1: 0.9}, 0.0, NotAssessedReason.TOO_FEW_LEVELS),
        (dict.fromkeys(Level, 0.3), 0.0, NotAssessedReason.NOT_LUMBAR),
        ({}, 0.0, NotAssessedReason.NOT_LUMBAR),
        (SURE, 0.95, NotAssessedReason.TRANSITIONAL_ANATOMY),
    ],
)
@pytest.mark.parametrize("step", [-1, 1])
def test_names_are_trusted_or_not(own, moved, reason, step) -> None:
    """Four clear levels are enough, unless the names fit as well one level up or down."""
    maps = heat(own, moved, step)
    assert series_problem(maps, decode_levels(maps, OPTIONS), OPTIONS) is reason


@pytest.mark.parametrize("step", [-1, 1])
def test_the_share_of_moved_names_is_theirs_over_the_own(step) -> None:
    """The share is that which was painted, whichever way the names are moved."""
    maps = heat(SURE, 0.5, step)
    assert shifted_share(maps, decode_levels(maps, OPTIONS), OPTIONS) == pytest.approx(0.5)


PLANE = Plane((0.0, -128.0, 128.0), (0, 1, 0), (0, 0, -1), 1.0, 1.0, 256, 256)


def view(structure: Structure, maps: np.ndarray) -> SagittalView:
    """One sagittal slice on which the detector drew these maps of one structure."""
    pixels = np.zeros((PLANE.rows, PLANE.columns), dtype=np.float32)
    drawn = np.zeros((1, len(SAGITTAL_POINTS), *maps.shape[1:]), dtype=np.float32)
    drawn[0, channels(structure)] = maps
    header = SliceHeader("0", ImageReference("1.2", "1.2.1"), 1, PLANE)
    volume = Volume(Role.SAGITTAL_T1, pixels[None], (header,))
    crop = cut(pixels, whole_window(PLANE.rows, PLANE.columns, PLANE.grid), SAGITTAL_SHAPE)
    return SagittalView(volume, (crop,), drawn)


T1 = view(Structure.FORAMEN, heat(SURE))
FAINT = view(Structure.CANAL, heat({Level.L3_L4: 0.3, Level.L4_L5: 0.3}))


def named_on_t2(names: list[tuple[int, int]]) -> dict[Level, np.ndarray]:
    """The canal at the true place of one level under the name of another: (name, true place)."""
    peaks = decode_levels(T1.scores[0, channels(Structure.FORAMEN)], OPTIONS)
    found = {}
    for name, true in names:
        peak = peaks[LEVELS[true]]
        foramen_mm = PLANE.to_mm(*T1.crop.to_image_px(peak.column, peak.row))
        # Discs are seen a little beside the place that the foramina foretell.
        found[LEVELS[name]] = foramen_mm - (0.0, *OPTIONS.foramen_offset_mm) + (0.0, 3.0, -4.0)
    return found


@pytest.mark.parametrize(
    ("names", "otherwise", "doubted"),
    [
        ([(n, n) for n in range(5)], 0, False),
        ([(2, 2), (3, 3)], 0, False),
        ([(3, 3)], 0, False),
        ([], 0, False),
        ([(0, 0), (1, 1), (2, 2), (3, 4)], 1, False),  # a slip of one point
        ([(2, 3), (3, 4)], 2, True),
        ([(1, 3), (2, 4)], 2, True),
        ([(3, 4)], 1, True),
        ([(4, 3)], 1, True),
        ([(n, n + 1) for n in range(4)], 4, True),
        ([(n, n - 1) for n in range(1, 5)], 4, True),
    ],
    ids=str,
)
@pytest.mark.parametrize("t2", [(), (FAINT,)], ids=["no T2", "faint T2"])
def test_names_of_t2_that_a_clear_t1_contradicts_are_not_trusted(
    names, otherwise, doubted, t2
) -> None:
    """Two levels named otherwise, or the only one; both names of one place are never graded."""
    canal = named_on_t2(names)
    peaks = decode_levels(T1.scores[0, channels(Structure.FORAMEN)], OPTIONS)
    assert disagreements(T1, peaks, canal, OPTIONS) == otherwise
    reason = numbering_problem(t2, [T1], canal, OPTIONS)
    assert reason is (NotAssessedReason.TRANSITIONAL_ANATOMY if doubted else None)


def test_a_level_that_t1_does_not_name_is_no_doubt_by_itself() -> None:
    """T1 shows four levels and T2 all five, under the same names."""
    four = view(Structure.FORAMEN, heat({**SURE, Level.L1_L2: 0.0}))
    assert numbering_problem((), [four], named_on_t2([(n, n) for n in range(5)]), OPTIONS) is None


def drawn(places: dict[Level, tuple[int, int]], score: float = 0.9) -> np.ndarray:
    """One map per level with a point at (column, row)."""
    maps = np.zeros((5, 64, 64), dtype=np.float32)
    for level, (column, row) in places.items():
        maps[LEVELS.index(level), row, column] = score
    return maps


STRAIGHT = {level: (30, row) for level, row in ROWS.items()}
SACRUM = {**STRAIGHT, Level.L5_S1: (32, 48)}
KYPHOTIC = {**STRAIGHT, Level.L5_S1: (26, 47)}
S1_S2 = {**STRAIGHT, Level.L5_S1: (37, 44)}
SHORT = {**STRAIGHT, Level.L5_S1: (31, 45)}
SLIPPED = dict(zip(Level, [*list(STRAIGHT.values())[1:], (33, 57)], strict=True))
TRANSITIONAL = NotAssessedReason.TRANSITIONAL_ANATOMY


@pytest.mark.parametrize(
    ("canal", "discs", "score", "reason"),
    [
        (STRAIGHT, STRAIGHT, 0.9, None),
        (SACRUM, SACRUM, 0.9, None),
        ({level: SACRUM[level] for level in LEVELS[1:]}, SACRUM, 0.9, None),
        (SLIPPED, SACRUM, 0.9, TRANSITIONAL),
        (STRAIGHT, KYPHOTIC, 0.9, TRANSITIONAL),
        (STRAIGHT, S1_S2, 0.9, TRANSITIONAL),
        (STRAIGHT, SHORT, 0.9, TRANSITIONAL),
        (STRAIGHT, {level: STRAIGHT[level] for level in LEVELS[:4]}, 0.9, TRANSITIONAL),
        (SACRUM, SACRUM, 0.6, NotAssessedReason.NOT_LUMBAR),
        ({level: SACRUM[level] for level in LEVELS[2:]}, {}, 0.9, NotAssessedReason.TOO_FEW_LEVELS),
        ({}, {}, 0.9, NotAssessedReason.NOT_LUMBAR),
    ],
)
def test_the_names_of_t2_need_discs_that_end_in_a_sacrum(canal, discs, score, reason) -> None:
    """Canal and discs have the same names, and the lowest disc turns and lies as L5/S1 does."""
    t2 = view(Structure.CANAL, drawn(canal, score))
    t2.scores[0, channels(Structure.DISC)] = drawn(discs, score)
    assert canal_problem(t2, OPTIONS) is reason
