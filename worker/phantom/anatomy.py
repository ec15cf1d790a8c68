"""The spine of one patient, generated from a seed: a curve, and the sizes along it.

Spine coordinates (u, v, s) are millimetres in the frame that moves along the curve:
`u` to the patient's left, `v` to the back with 0 at the rear wall of the vertebral
bodies, `s` towards the head with 0 at the centre of the L5/S1 disc. The curve is the
rear wall in the midline, so that lordosis makes the bodies higher in front.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from dicom_sr.findings import Level
from worker.domain.geometry import Vector
from worker.phantom.randomness import stream

Profile = NDArray[np.float32]
"""A quantity along the spine, shape (samples,), sampled at `Anatomy.s_mm`."""

STEP_MM: Final = 0.25
"""Distance between the samples of a profile."""

# One row for each disc from S4/S5 up to T6/T7: body half width, body depth, disc height at
# the rear wall, height of the vertebra above, sac half width, sac depth, gap between the
# rear wall and the sac, pedicle centre from the midline, tilt of the disc in degrees (a
# positive tilt has its front lower), all of an average adult.
_TABLE: Final = np.array(
    [
        # width depth disc above sac_w sac_d  gap  ped  tilt
        [12.0, 8.0, 0.8, 17.0, 0.5, 0.5, 5.0, 9.0, 0.0],  # S4/S5
        [15.0, 10.0, 0.8, 19.0, 0.5, 0.5, 5.0, 10.0, 22.0],  # S3/S4
        [18.0, 13.0, 1.0, 22.0, 2.0, 2.0, 5.5, 12.0, 38.0],  # S2/S3
        [23.0, 19.0, 3.0, 27.0, 6.0, 8.5, 5.0, 16.0, 46.0],  # S1/S2
        [26.0, 33.0, 8.0, 25.0, 8.2, 12.0, 3.2, 19.0, 35.0],  # L5/S1
        [25.5, 34.5, 9.5, 27.0, 9.0, 13.0, 1.2, 17.5, 18.0],  # L4/L5
        [24.5, 34.5, 9.5, 27.5, 9.2, 13.5, 1.0, 15.5, 5.0],  # L3/L4
        [23.5, 33.5, 8.8, 27.0, 9.2, 14.0, 1.0, 14.0, -5.0],  # L2/L3
        [22.5, 32.5, 7.8, 26.0, 9.4, 14.5, 1.0, 13.0, -11.0],  # L1/L2
        [21.0, 31.0, 6.4, 25.0, 9.4, 14.5, 1.2, 12.5, -13.0],  # T12/L1
        [19.5, 30.0, 5.6, 23.5, 9.0, 14.0, 1.5, 12.5, -12.0],  # T11/T12
        [18.0, 29.0, 5.0, 22.5, 8.6, 13.5, 1.5, 12.0, -9.0],  # T10/T11
        [17.0, 28.0, 4.8, 22.0, 8.4, 13.0, 1.5, 12.0, -4.0],  # T9/T10
        [16.5, 27.0, 4.6, 21.5, 8.2, 13.0, 1.5, 12.0, 1.0],  # T8/T9
        [16.0, 26.0, 4.4, 21.0, 8.0, 13.0, 1.5, 12.0, 6.0],  # T7/T8
        [16.0, 25.5, 4.4, 21.0, 8.0, 13.0, 1.5, 12.0, 11.0],  # T6/T7
    ]
)
FIRST_MOBILE: Final = 4
"""The row of L5/S1, the lowest mobile disc."""

SEGMENT_OF: Final = {level: FIRST_MOBILE + 4 - i for i, level in enumerate(Level)}
"""The row of each graded disc."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The curve of one spine and the sizes along it.

    `s_mm`, `y_mm`, `z_mm`, `x_mm` and `tilt_rad` have shape (samples,); the others have
    shape (segments,), one for each disc of the table, from the sacrum upwards.
    """

    s_mm: NDArray[np.float64]
    x_mm: NDArray[np.float64]
    y_mm: NDArray[np.float64]
    z_mm: NDArray[np.float64]
    tilt_rad: NDArray[np.float64]
    disc_s_mm: NDArray[np.float64]
    disc_height_mm: NDArray[np.float64]
    body_half_width_mm: NDArray[np.float64]
    body_depth_mm: NDArray[np.float64]
    sac_half_width_mm: NDArray[np.float64]
    sac_depth_mm: NDArray[np.float64]
    sac_gap_mm: NDArray[np.float64]
    pedicle_mm: NDArray[np.float64]
    hydration: NDArray[np.float64]
    """0 for a degenerated disc, 1 for a healthy one."""
    facet_angle_rad: NDArray[np.float64]
    spinous_length_mm: float
    conus_s_mm: float
    subcutaneous_mm: float
    skin_depth_mm: float
    """Mean distance from the rear wall of the bodies to the skin."""
    fat_infiltration: float
    """0..1: the fat content of the back muscles."""
    torso_depth_mm: float
    seed: int

    @property
    def scoliosis(self) -> NDArray[np.float64]:
        """dx/ds, shape (samples,)."""
        return np.gradient(self.x_mm, STEP_MM)

    def index_at(self, s_mm: float) -> int:
        """The sample nearest to a position along the spine."""
        return round((s_mm - float(self.s_mm[0])) / STEP_MM)

    def tilt_at(self, s_mm: float) -> float:
        """Tilt of the spine in the sagittal plane in radians; the front is lower when > 0."""
        return float(self.tilt_rad[self.index_at(s_mm)])

    def to_patient(self, u_mm: float, v_mm: float, s_mm: float) -> Vector:
        """The patient position (LPS, mm) of spine coordinates, shape (3,)."""
        i = self.index_at(s_mm)
        along = s_mm - float(self.s_mm[i]) - float(self.scoliosis[i]) * u_mm
        sin, cos = np.sin(self.tilt_rad[i]), np.cos(self.tilt_rad[i])
        return np.array(
            [
                self.x_mm[i] + u_mm,
                self.y_mm[i] + v_mm * cos - along * sin,
                self.z_mm[i] + v_mm * sin + along * cos,
            ]
        )

    @cached_property
    def sagittal_map(self) -> SagittalMap:
        """The table that turns (y, z) into (s, v)."""
        return SagittalMap.of(self)


@dataclass(frozen=True, eq=False)
class SagittalMap:
    """(s, v) on a grid of (z, y), both shape (rows, columns) float32, for fast look-up."""

    y0_mm: float
    z0_mm: float
    spacing_mm: float
    s_mm: NDArray[np.float32]
    v_mm: NDArray[np.float32]

    @classmethod
    def of(cls, anatomy: Anatomy, spacing_mm: float = 1.5) -> SagittalMap:
        """Tabulate the nearest position on the curve for the whole imaged region."""
        middle = anatomy.index_at(float(anatomy.disc_s_mm[SEGMENT_OF[Level.L2_L3]]))
        y0, z0 = anatomy.y_mm[middle] - 300, anatomy.z_mm[middle] - 230
        y, z = y0 + spacing_mm * np.arange(290), z0 + spacing_mm * np.arange(310)
        curve = np.stack([anatomy.y_mm, anatomy.z_mm], axis=1)
        grid = np.stack(np.meshgrid(y, z), axis=-1).reshape(-1, 2)
        _, nearest = KDTree(curve[::2]).query(grid)
        i = nearest * 2
        dy, dz = (grid - curve[i]).T
        sin, cos = np.sin(anatomy.tilt_rad[i]), np.cos(anatomy.tilt_rad[i])
        shape = (len(z), len(y))
        s = anatomy.s_mm[i] - dy * sin + dz * cos
        v = dy * cos + dz * sin
        return cls(
            float(y0),
            float(z0),
            spacing_mm,
            s.reshape(shape).astype(np.float32),
            v.reshape(shape).astype(np.float32),
        )


def draw_anatomy(seed: int) -> Anatomy:
    """Generate the spine of a seed: size, lordosis, scoliosis, discs, fat and position."""
    rng = stream(seed, "anatomy")
    width, depth, disc, above, sac_w, sac_d, gap, pedicle, tilt = _TABLE.T
    count = len(_TABLE)
    size = np.clip(rng.normal(1, 0.06), 0.88, 1.13)
    canal = np.clip(rng.normal(1, 0.07), 0.86, 1.15)
    mobile = np.arange(count) >= FIRST_MOBILE
    hydration = np.clip(rng.normal(0.6, 0.25) + rng.normal(0, 0.2, count), 0.05, 1)
    disc = disc * size * np.where(mobile, (0.72 + 0.36 * hydration) * rng.normal(1, 0.05, count), 1)
    above = above * size * rng.normal(1, 0.02, count)
    lordosis = np.clip(rng.normal(1, 0.22), 0.5, 1.4)
    tilt = np.deg2rad(tilt * lordosis + rng.normal(0, 4) + rng.normal(0, 1.5, count))

    disc_s = np.concatenate([[0], np.cumsum(disc[:-1] / 2 + above[:-1] + disc[1:] / 2)])
    disc_s -= disc_s[FIRST_MOBILE]
    s = np.arange(disc_s[0] - 25, disc_s[-1] + 12, STEP_MM)
    tilt_along = _bend_mostly_in_discs(s, disc_s, disc, tilt)
    middle = int(np.argmin(np.abs(s - disc_s[SEGMENT_OF[Level.L3_L4]])))
    y = np.cumsum(-np.sin(tilt_along)) * STEP_MM
    z = np.cumsum(np.cos(tilt_along)) * STEP_MM
    bend, phase = rng.normal(0, 1.6), rng.uniform(0, 2 * np.pi)
    x = bend * np.sin(2 * np.pi * s / rng.uniform(180, 320) + phase) + rng.normal(0, 0.012) * s
    place = rng.uniform([-6, -30, -450], [6, 50, 60])
    facet = np.interp(np.arange(count), [4, 5, 8, 12], np.deg2rad([48, 42, 25, 20]))
    scale = size ** np.array([1.0])
    return Anatomy(
        s_mm=s,
        x_mm=x - x[middle] + place[0],
        y_mm=y - y[middle] + place[1],
        z_mm=z - z[middle] + place[2],
        tilt_rad=tilt_along,
        disc_s_mm=disc_s,
        disc_height_mm=disc,
        body_half_width_mm=width * scale * rng.normal(1, 0.03),
        body_depth_mm=depth * scale * rng.normal(1, 0.03),
        sac_half_width_mm=sac_w * canal * rng.normal(1, 0.03, count),
        sac_depth_mm=sac_d * canal * rng.normal(1, 0.04, count),
        sac_gap_mm=gap * rng.uniform(0.8, 1.3),
        pedicle_mm=pedicle * size * rng.normal(1, 0.03),
        hydration=hydration,
        facet_angle_rad=facet + rng.normal(0, 0.12),
        spinous_length_mm=rng.uniform(25, 33) * size,
        conus_s_mm=float(disc_s[SEGMENT_OF[Level.L1_L2]] + rng.normal(16, 9)),
        subcutaneous_mm=float(np.clip(rng.gamma(5, 4), 7, 45)),
        skin_depth_mm=float(rng.normal(56, 4) * size),
        fat_infiltration=float(rng.beta(2, 3)),
        torso_depth_mm=float(rng.uniform(190, 270)),
        seed=seed,
    )


def _bend_mostly_in_discs(
    s: NDArray[np.float64],
    disc_s: NDArray[np.float64],
    disc: NDArray[np.float64],
    tilt: NDArray[np.float64],
) -> NDArray[np.float64]:
    # Bodies are stiff: a millimetre of disc bends four times as much as one of bone.
    nearest = np.abs(s[:, None] - disc_s).argmin(axis=1)
    inside = np.abs(s - disc_s[nearest]) < disc[nearest] / 2
    bendable = np.cumsum(np.where(inside, 4.0, 1.0))
    at_discs = np.interp(disc_s, s, bendable)
    bent: NDArray[np.float64] = np.interp(bendable, at_discs, tilt)
    return bent
