"""When the names of the levels are not trusted: on heatmaps painted by hand."""

import numpy as np
import pytest

from dicom_sr.findings import Level, NotAssessedReason
from worker.localise.doubts import doubt, moved_share
from worker.localise.heat import decode_levels

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
    assert doubt(maps, decode_levels(maps)) is reason


@pytest.mark.parametrize("step", [-1, 1])
def test_the_share_of_moved_names_is_theirs_over_the_own(step) -> None:
    """The share is that which was painted, whichever way the names are moved."""
    maps = heat(SURE, 0.5, step)
    assert moved_share(maps, decode_levels(maps)) == pytest.approx(0.5)
