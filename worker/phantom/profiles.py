"""Sizes and lesions as profiles along the spine, for lookup by pixel.

A profile is a table over `s` in steps of `STEP_MM`; each pixel looks up its own index, so
that there is no loop over levels. Sided profiles hold the patient's left first and then the
right: index + samples * (u < 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_sr.findings import Condition, Level, Severity, Side, Target
from worker.phantom.anatomy import FIRST_MOBILE, SEGMENT_OF, Anatomy, Profile
from worker.phantom.lesions import canal_shape, foramen_shape, recess_shape


@dataclass(frozen=True, eq=False)
class Profiles:
    """Shape (samples,) each, or (2 * samples,) for `left_right_*`; in mm unless stated."""

    along: Profile
    """Distance to the centre of the nearest disc, positive towards the head."""
    half_disc: Profile
    half_body: Profile
    """From the centre of the disc to the middle of the adjacent body."""
    waist: Profile
    """0 at a disc, 1 in the middle of a body."""
    mobile: Profile
    """1 at mobile vertebrae, 0 in the sacrum."""
    body_half_width: Profile
    body_depth: Profile
    nucleus: Profile
    """0..1, the hydration of the disc."""
    bulge: Profile
    sac_half_width: Profile
    sac_half_depth: Profile
    sac_centre_v: Profile
    canal_back_v: Profile
    """Rear end of the sac before any lesion."""
    canal_half_width: Profile
    triangular: Profile
    """0 for a round sac, 1 for a triangular one."""
    crowding: Profile
    filler: Profile
    cord_radius: Profile
    pedicle: Profile
    joint_u: Profile
    joint_cos: Profile
    joint_sin: Profile
    spinous_length: Profile
    left_right_cut: Profile
    left_right_fill: Profile
    left_right_nerve_height: Profile
    left_right_nerve_depth: Profile

    @property
    def samples(self) -> int:
        """The number of samples along the spine."""
        return len(self.along)


def foramen_position(anatomy: Anatomy, segment: int) -> tuple[float, float, float]:
    """The centre of the left foramen in spine coordinates (u, v, s)."""
    u = float(anatomy.pedicle_mm[segment]) + 1.0
    s = float(anatomy.disc_s_mm[segment] + anatomy.disc_height_mm[segment] / 2) + 1.5
    return u, 0.8, s


def sac_position(anatomy: Anatomy, segment: int) -> tuple[float, float, float]:
    """The middle of a healthy sac at a disc in spine coordinates (u, v, s)."""
    v = float(anatomy.sac_gap_mm[segment] + anatomy.sac_depth_mm[segment] / 2)
    return 0.0, v, float(anatomy.disc_s_mm[segment])


def recess_position(anatomy: Anatomy, segment: int) -> tuple[float, float, float]:
    """The left lateral recess at a disc, at the sac's front-lateral corner, in (u, v, s)."""
    v = float(anatomy.sac_gap_mm[segment]) + 0.25 * float(anatomy.sac_depth_mm[segment])
    return float(anatomy.sac_half_width_mm[segment]), v, float(anatomy.disc_s_mm[segment])


def build_profiles(anatomy: Anatomy, severities: Mapping[Target, Severity]) -> Profiles:
    """Tabulate the anatomy and the lesions along the spine."""
    s, discs = anatomy.s_mm, anatomy.disc_s_mm
    nearest = _nearest_segment(anatomy)
    along = s - discs[nearest]
    half_disc = anatomy.disc_height_mm[nearest] / 2
    half_body = np.where(along > 0, _gap_above(anatomy)[nearest], _gap_below(anatomy)[nearest])
    waist = np.clip((np.abs(along) - half_disc) / np.maximum(half_body - half_disc, 1), 0, 1)

    def along_spine(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.interp(s, discs, values)

    depth_factor, width_factor = np.ones_like(s), np.ones_like(s)
    crowding, filler, bulge = np.zeros_like(s), np.zeros_like(s), np.zeros_like(s)
    for level in Level:
        target = Target(Condition.SPINAL_CANAL_STENOSIS, level)
        shape = canal_shape(anatomy.seed, target, severities[target])
        here = _envelope(s - discs[SEGMENT_OF[level]], 7.5)
        depth_factor -= (1 - shape.depth_factor) * here
        width_factor -= (1 - shape.width_factor) * here
        crowding += shape.crowding * here
        filler += shape.filler * here
        bulge += 4.5 * (1 - shape.depth_factor) * _envelope(s - discs[SEGMENT_OF[level]], 6)
    sac_depth, gap = (
        along_spine(anatomy.sac_depth_mm),
        along_spine(anatomy.sac_gap_mm) + 0.8 * waist,
    )
    index = np.arange(len(anatomy.disc_s_mm))
    return Profiles(
        along=_table(along),
        half_disc=_table(half_disc),
        half_body=_table(half_body),
        waist=_table(waist),
        mobile=_table(nearest >= FIRST_MOBILE),
        body_half_width=_table(along_spine(anatomy.body_half_width_mm) * (1 - 0.09 * waist)),
        body_depth=_table(along_spine(anatomy.body_depth_mm) * (1 - 0.07 * waist)),
        nucleus=_table(anatomy.hydration[nearest] * (1 - 0.7 * np.clip(filler, 0, 1))),
        bulge=_table(bulge),
        sac_half_width=_table(along_spine(anatomy.sac_half_width_mm) * width_factor),
        sac_half_depth=_table(sac_depth * depth_factor / 2),
        sac_centre_v=_table(gap + sac_depth / 2),
        canal_back_v=_table(gap + sac_depth),
        canal_half_width=_table(along_spine(anatomy.sac_half_width_mm) + 2.2),
        triangular=_table(
            along_spine(np.interp(index, [3, 4, 5, 6, 8, 9], [0.1, 0.25, 0.75, 0.7, 0.3, 0]))
        ),
        crowding=_table(np.clip(crowding, 0, 1)),
        filler=_table(np.clip(filler, 0, 1)),
        cord_radius=_table(4.6 * np.clip((s - anatomy.conus_s_mm) / 22, 0, 1) ** 0.6),
        pedicle=_table(along_spine(anatomy.pedicle_mm)),
        joint_u=_table(along_spine(anatomy.pedicle_mm) + 1.5),
        joint_cos=_table(np.cos(along_spine(anatomy.facet_angle_rad))),
        joint_sin=_table(np.sin(along_spine(anatomy.facet_angle_rad))),
        spinous_length=_table(
            anatomy.spinous_length_mm
            * along_spine(np.interp(index, [0, 3, 4, 5, 6, 12], [0.1, 0.2, 0.66, 0.95, 1, 1]))
        ),
        **_sided(anatomy, severities),
    )


def _table(values: NDArray[Any]) -> Profile:
    return np.ascontiguousarray(values, dtype=np.float32)


def _sided(anatomy: Anatomy, severities: Mapping[Target, Severity]) -> dict[str, Profile]:
    sides = {}
    s, nearest = anatomy.s_mm, _nearest_segment(anatomy)
    for side in Side:
        cut, fill = np.zeros_like(s), np.zeros_like(s)
        height, depth = np.ones_like(s), np.ones_like(s)
        for level in Level:
            along = s - anatomy.disc_s_mm[SEGMENT_OF[level]]
            recess = Target(Condition.SUBARTICULAR_STENOSIS, level, side)
            cut += recess_shape(anatomy.seed, recess, severities[recess]).cut * _envelope(along, 8)
            foramen = Target(Condition.NEURAL_FORAMINAL_NARROWING, level, side)
            shape = foramen_shape(anatomy.seed, foramen, severities[foramen])
            here = nearest == SEGMENT_OF[level]  # a foramen lies between two pedicles
            fill += shape.fill * here
            height -= (1 - shape.nerve_height) * here
            depth -= (1 - shape.nerve_depth) * here
        sides[side] = (cut, fill, height, depth)
    left, right = sides[Side.LEFT], sides[Side.RIGHT]
    joined = [np.concatenate(pair).astype(np.float32) for pair in zip(left, right, strict=True)]
    names = ("cut", "fill", "nerve_height", "nerve_depth")
    return {f"left_right_{name}": table for name, table in zip(names, joined, strict=True)}


def _nearest_segment(anatomy: Anatomy) -> NDArray[np.intp]:
    # The border lies in the middle of the body, not half way between the discs' centres.
    discs, half = anatomy.disc_s_mm, anatomy.disc_height_mm / 2
    borders = (discs[:-1] + half[:-1] + discs[1:] - half[1:]) / 2
    return np.searchsorted(borders, anatomy.s_mm)


def _gap_above(anatomy: Anatomy) -> NDArray[np.float64]:
    discs, half = anatomy.disc_s_mm, anatomy.disc_height_mm / 2
    borders = (discs[:-1] + half[:-1] + discs[1:] - half[1:]) / 2
    return np.append(borders - discs[:-1], 12.0)


def _gap_below(anatomy: Anatomy) -> NDArray[np.float64]:
    discs, half = anatomy.disc_s_mm, anatomy.disc_height_mm / 2
    borders = (discs[:-1] + half[:-1] + discs[1:] - half[1:]) / 2
    return np.insert(discs[1:] - borders, 0, 10.0)


def _envelope(distance_mm: NDArray[np.float64], reach_mm: float) -> NDArray[np.float64]:
    """1 at the lesion's centre with a flat top, 0 beyond its reach."""
    envelope = np.exp(-((np.abs(distance_mm) / reach_mm) ** 4))
    return np.where(envelope < 1e-3, 0.0, envelope)
