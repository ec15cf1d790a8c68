"""Relative signals of tissues in each weighting of turbo spin echo at 1.5 T.

The values are relative (1 is the brightest) and were chosen by comparison with real studies,
not derived from relaxation times: contrasts have the right sign and size.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from worker.domain.study import Role
from worker.phantom.randomness import stream


@dataclass(frozen=True)
class Signals:
    """Relative signal of every tissue, 0..1."""

    csf: float
    root: float
    cord: float
    fat: float
    marrow: float
    cortex: float
    annulus: float
    nucleus_wet: float
    nucleus_dry: float
    ligament: float
    scar: float
    """The tissue in a narrowed canal, recess or foramen: disc, ligament and osteophyte."""
    nerve: float
    muscle: float
    vessel: float
    joint: float
    bowel: float
    skin: float


_T1 = Signals(
    csf=0.16, root=0.27, cord=0.33, fat=1.0, marrow=0.6, cortex=0.06, annulus=0.2,
    nucleus_wet=0.25, nucleus_dry=0.22, ligament=0.16, scar=0.22, nerve=0.36, muscle=0.3,
    vessel=0.05, joint=0.2, bowel=0.4, skin=0.45,
)  # fmt: skip
_T2 = Signals(
    csf=1.0, root=0.25, cord=0.36, fat=0.62, marrow=0.3, cortex=0.04, annulus=0.06,
    nucleus_wet=0.62, nucleus_dry=0.1, ligament=0.07, scar=0.1, nerve=0.26, muscle=0.13,
    vessel=0.04, joint=0.55, bowel=0.35, skin=0.3,
)  # fmt: skip


def draw_signals(seed: int, role: Role) -> Signals:
    """The signals of one series: those of its weighting with small random variations.

    Some sagittal T2 series are fat-suppressed, as in practice.
    """
    rng = stream(seed, "signals", role)
    base = _T1 if role is Role.SAGITTAL_T1 else _T2
    varied = {
        f.name: float(np.clip(getattr(base, f.name) * rng.normal(1, 0.12), 0, 1.1))
        for f in fields(base)
    }
    signals = Signals(**varied)
    suppressed = rng.random() < 0.2
    if role is Role.SAGITTAL_T2 and suppressed:
        return replace(signals, fat=0.17, marrow=0.13, skin=0.15)
    return signals
