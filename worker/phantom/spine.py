"""The tissues of the spine as implicit shapes in spine coordinates (u, v, s).

Drawn in this order: fat around the nerves, nerves and the tissue that narrows their
foramina, bodies and discs, posterior arch, ligaments, canal, sac.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from worker.phantom.anatomy import Profile
from worker.phantom.drawing import Pixels, Texture, blend, bone, cover, segment_distance
from worker.phantom.profiles import Profiles
from worker.phantom.randomness import stream
from worker.phantom.tissue import Signals

_ROOT_TABLE = 96


@dataclass(frozen=True, eq=False)
class SpineCoordinates:
    """The position of pixels: spine coordinates in mm, and their sample in the profiles."""

    u: Pixels
    v: Pixels
    s: Pixels
    index: NDArray[np.int32]
    profiles: Profiles

    def __getattr__(self, name: str) -> Pixels:
        """The profile of that name at these pixels (sided ones by the side of u)."""
        table: Profile = getattr(self.profiles, name)
        right = name.startswith("left_right_") * np.int32(self.profiles.samples) * (self.u < 0)
        values: Pixels = table[self.index + right]
        return values

    @cached_property
    def off_midline(self) -> Pixels:
        """|u|."""
        return np.abs(self.u)

    def subset(self, chosen: NDArray[np.intp]) -> SpineCoordinates:
        """The positions of a subset of the pixels."""
        return SpineCoordinates(
            self.u[chosen], self.v[chosen], self.s[chosen], self.index[chosen], self.profiles
        )


@dataclass(frozen=True, eq=False)
class Materials:
    """The fill of the shapes: signals, textures, and the pattern of the nerve roots.

    `roots` has shape (2, 96 * 96), over the unit square of the sac: many roots for the upper
    canal, few for the lower.
    """

    signals: Signals
    fine: Texture
    coarse: Texture
    roots: NDArray[np.float32]


def draw_roots(seed: int) -> NDArray[np.float32]:
    """Cross-sections of the roots over the unit square of the sac, shape (2, 96 * 96), 0..1.

    They lie in the rear half, as in a supine patient.
    """
    rng = stream(seed, "roots")
    axis = np.linspace(-1, 1, _ROOT_TABLE)
    across, back = np.meshgrid(axis, axis, indexing="ij")
    patterns = []
    for count, spread in ((30, 0.72), (14, 0.78)):
        pattern = np.zeros_like(across)
        for _ in range(count):
            angle = rng.uniform(0, 2 * np.pi)
            radius = spread * np.sqrt(rng.uniform(0.12, 1))
            a, b = radius * np.cos(angle), 0.28 + 0.66 * radius * np.sin(angle)
            width = rng.uniform(0.065, 0.1)
            dot = np.exp(-(((across - a) / width) ** 2 + ((back - b) / (1.25 * width)) ** 2))
            pattern = np.maximum(pattern, dot)
        patterns.append(pattern.ravel())
    return np.stack(patterns).astype(np.float32)


def draw_spine(image: Pixels, place: SpineCoordinates, materials: Materials) -> None:
    """Draw the spine over a flat array of background pixels, in place."""
    signals = materials.signals
    marrow = signals.marrow * (1 + 0.1 * materials.fine.at(place.u, place.v, place.s))
    marrow *= 1 + 0.13 * materials.coarse.at(place.u, place.v, place.s)
    around = np.flatnonzero(
        (place.v > -14) & (place.v < 18) & (place.off_midline < 32) & (place.mobile > 0)
    )
    if len(around):
        part = image[around]
        _draw_foramina(part, place.subset(around), materials)
        image[around] = part
    front = np.flatnonzero(place.v < 9)
    if len(front):
        part = image[front]
        _draw_bodies(part, place.subset(front), materials, marrow[front])
        image[front] = part
    back = np.flatnonzero(place.v > -9)
    if len(back):
        part, here = image[back], place.subset(back)
        _draw_arch(part, here, materials, marrow[back])
        _draw_canal(part, here, materials)
        image[back] = part


def _draw_foramina(image: Pixels, at: SpineCoordinates, materials: Materials) -> None:
    signals, out = materials.signals, at.off_midline
    fat = signals.fat * (0.92 + 0.06 * materials.fine.at(at.u, at.v, at.s))
    zone = (np.sqrt((out / 27) ** 2 + ((at.v - 2) / 11) ** 2) - 1) * 11
    blend(image, cover(zone, 2.5), fat)
    beyond = out - at.pedicle - 1
    down, forward = at.along - at.half_disc - 1.5, at.v - 0.8
    # Disc and osteophytes come from the front and below, the facet from behind.
    fill = at.left_right_fill
    window = np.sqrt((beyond / 11) ** 2 + (down / 15) ** 2 + (forward / 10) ** 2)
    window = (window - 1) * 9
    tissue = np.minimum(
        0.62 * down + 0.5 * forward + 7.6 - 16 * fill, 9.5 - 11 * fill - forward - 0.2 * down
    )
    blend(image, cover(np.maximum(tissue, window), 1.2), signals.scar)
    height = 3.4 * at.left_right_nerve_height
    depth = 2.7 * at.left_right_nerve_depth
    nerve = np.sqrt(
        ((forward + 0.2 + 0.3 * beyond) / depth) ** 2 + ((down - 2.2 + 0.75 * beyond) / height) ** 2
    )
    nerve = (nerve - 1) * np.minimum(depth, height)
    blend(image, cover(np.maximum(nerve, np.maximum(8 - out, out - 30))), signals.nerve)


def _draw_bodies(image: Pixels, at: SpineCoordinates, materials: Materials, marrow: Pixels) -> None:
    signals = materials.signals
    half_depth = at.body_depth / 2
    rear = _rear_wall(at)
    across = at.u / at.body_half_width
    along_depth = at.v + half_depth
    along_depth = along_depth / (half_depth + np.where(along_depth > 0, rear, 0))
    across, along_depth = across * across, along_depth * along_depth
    square = across + along_depth - 0.3 * across * along_depth
    outline = (np.sqrt(np.maximum(square, 0)) - 1) * np.float32(17)
    into_bone = np.abs(at.along) - at.half_disc
    into_bone -= at.mobile * 1.3 * np.clip(1 - square, 0, 1)
    wet = signals.nucleus_dry + (signals.nucleus_wet - signals.nucleus_dry) * at.nucleus
    disc = signals.annulus + (wet - signals.annulus) * (
        cover(outline + 5, 5) * cover(into_bone + 1.4, 2.0)
    )
    # Basivertebral veins: a cleft half way up the rear wall.
    vein = np.maximum(at.half_body - np.abs(at.along) - 1.2, np.abs(at.u) - 5)
    vein = np.maximum(vein, -11 - at.v)
    marrow = marrow + cover(vein, 2.0) * 0.35 * (signals.nerve + signals.csf * 0.4 - marrow)
    inside = disc + cover(-into_bone) * (marrow - disc)
    inside += (signals.cortex - inside) * 0.85 * cover(np.abs(into_bone - 0.4) - 0.5)
    rim = cover(np.abs(outline + 0.5) - 0.6) * np.clip(into_bone + 1, 0, 1)
    inside += (signals.cortex - inside) * 0.85 * rim
    blend(image, cover(outline), inside)


def _rear_wall(at: SpineCoordinates) -> Pixels:
    # v of the wall near the midline: hollow behind a body, pushed back by a bulging disc.
    hollow = np.exp(-((at.u / 9) ** 2)) * (0.5 + at.waist) * at.mobile
    wall: Pixels = at.bulge * np.exp(-((at.u / 14) ** 2)) - hollow
    return wall


def _draw_arch(image: Pixels, at: SpineCoordinates, materials: Materials, marrow: Pixels) -> None:
    """Pedicles, facets, laminae, spinous processes and the flaval ligaments."""
    signals, out, along = materials.signals, at.off_midline, at.along
    cortex, mobile, back = signals.cortex, at.mobile, at.canal_back_v
    fixed = 40 * (1 - mobile)
    half = at.half_disc
    joint_v = 0.76 * back
    # Between the spinous processes: ligament streaked with fat.
    tip = back + 6 + at.spinous_length
    between = np.maximum(out - 4.2, np.maximum(back + 3 - at.v, at.v - tip))
    streaks = 0.45 + 0.2 * materials.fine.at(at.u, 0.3 * at.v, at.s + 0.4 * at.v)
    streaks += 0.15 * materials.coarse.at(at.u, at.v, at.s)
    blend(image, cover(between, 2) * 0.9, signals.fat * np.clip(streaks, 0.15, 0.9))

    pedicle_width = 3.6 + 0.34 * np.clip(at.pedicle - 12, 0, 9)
    pedicle = np.sqrt(((out - at.pedicle) / pedicle_width) ** 2 + ((along + half + 8) / 7.2) ** 2)
    pedicle = np.maximum((pedicle - 1) * 4.5, np.maximum(at.v - 13, -7 - at.v))
    bone(image, pedicle, cortex, marrow)

    pars = segment_distance(at.v, along, (9.0, half + 13), (joint_v + 4, 2.0))
    pars = np.hypot(pars, 0.85 * np.maximum(np.abs(out - at.joint_u + 1.5) - 1.5, 0)) - 4.0
    bone(image, pars + fixed, cortex, marrow)

    lamina = segment_distance(out, at.v, (at.joint_u - 3, joint_v + 4), (1.0, back + 6.5)) - 3.1
    lamina = np.maximum(lamina, np.abs(along - half - 3.5 - 0.2 * (out - 8)) - 10.5)
    bone(image, np.where(mobile > 0, lamina, lamina + 1), cortex, marrow)

    across = (out - at.joint_u) * at.joint_cos - (at.v - joint_v) * at.joint_sin
    depth = (out - at.joint_u) * at.joint_sin + (at.v - joint_v) * at.joint_cos
    # The joint is curved: its front end turns inwards.
    across = across + 0.035 * depth * depth
    upper = np.sqrt(((across + 4.2) / 4.2) ** 2 + ((depth - 1.5) / 8.5) ** 2 + (along / 12) ** 2)
    bone(image, (upper - 1) * 4.2 + fixed, cortex, marrow)
    lower = np.sqrt(((across - 3.3) / 3.2) ** 2 + (depth / 8) ** 2 + ((along + 4) / 9.5) ** 2)
    bone(image, (lower - 1) * 3.2 + fixed, cortex, marrow)
    joint = np.maximum(np.abs(across) - 0.6, np.maximum(np.abs(depth) - 6, np.abs(along + 3) - 7))
    blend(image, cover(joint + fixed) * 0.8, signals.joint)

    from_canal = at.v - back - 6
    spinous = np.maximum(out - 2.8 - 0.05 * from_canal, np.maximum(-from_canal, at.v - tip))
    height = 8.0 + 0.12 * from_canal
    spinous = np.maximum(spinous, np.abs(along - half - 4 + 0.32 * from_canal) - height)
    bone(image, spinous, cortex, marrow)

    flaval = segment_distance(out, at.v, (at.canal_half_width + 1, joint_v - 3), (0.8, back + 4.5))
    flaval = np.maximum(flaval - 2.0 - 1.3 * at.filler, np.abs(along - 1) - half - 6)
    blend(image, cover(flaval + fixed), signals.ligament)


def _draw_canal(image: Pixels, at: SpineCoordinates, materials: Materials) -> None:
    signals, out = materials.signals, at.off_midline
    inside = np.flatnonzero((out < 22) & (at.v < 34))
    if not len(inside):
        return
    part, at = image[inside], at.subset(inside)
    out = at.off_midline
    # Fat lies behind the sac between the laminae, hardly any under them.
    apex = at.canal_back_v + 1 + 4.2 * np.exp(-(((at.along + 1) / 10) ** 2))
    middle = np.clip((at.canal_half_width - 1.0 - out) / 1.5, 0, 1)
    taper = np.clip((at.v / apex - 0.4) / 0.6, 0, 1)
    canal = np.maximum(out - at.canal_half_width * (1 - 0.85 * taper), at.v - apex)
    canal = np.maximum(canal, _rear_wall(at) + 0.4 - 3 * at.filler * middle - at.v)
    fat = signals.fat * (0.9 + 0.06 * materials.fine.at(at.u, at.v, at.s))
    blend(part, cover(canal), fat + at.filler * middle * (signals.scar - fat))

    # The traversing root, on its way from the sac's shoulder to the next pedicle.
    recess_v = at.sac_centre_v - 0.25 * (at.canal_back_v - at.sac_centre_v) * 2
    root = np.hypot(out - at.canal_half_width + 0.7 + 0.1 * at.along, at.v - recess_v) - 1.7
    root = np.maximum(root, np.maximum(at.along - 3, -18 - at.along)) + 40 * (1 - at.mobile)
    blend(part, cover(root), signals.nerve)

    # Tissue in a lateral recess: everything in front of and outside an oblique plane.
    cut = at.left_right_cut
    oblique = 0.82 * out - 0.57 * (at.v - at.sac_centre_v)
    free = 0.82 * at.canal_half_width + 0.57 * (at.canal_back_v - at.sac_centre_v) + 0.4
    recess = oblique - free * (1 - cut)
    sideways = out - at.canal_half_width
    width = np.where(sideways > 0, 4.5, 9.0)
    lump = np.hypot(sideways / width, (at.v - at.sac_centre_v + 2.5) / 8) - 1
    scar = np.maximum(-recess, np.maximum(lump * 6, _rear_wall(at) - 1.5 - at.v))
    blend(part, cover(scar) * np.clip(cut / 0.15, 0, 1), signals.scar)
    _draw_sac(part, at, materials, recess)
    image[inside] = part


def _draw_sac(image: Pixels, at: SpineCoordinates, materials: Materials, recess: Pixels) -> None:
    signals = materials.signals
    # A narrowed sac is pushed away from the disc, not towards it.
    centre = at.sac_centre_v + 0.5 * at.bulge
    back = (at.v - centre) / at.sac_half_depth
    narrowing = np.clip(1 - 0.45 * at.triangular * (np.clip(back, -1, 1) + 0.6), 0.2, 2)
    across = at.u / (at.sac_half_width * narrowing)
    a, b = across * across, back * back
    outline = np.sqrt(np.maximum(a + b - 0.45 * a * np.minimum(b, 1), 0)) - 1
    outline = outline * np.minimum(at.sac_half_depth, at.sac_half_width)
    outline = np.maximum(outline, recess + 0.6)
    i = np.clip((across + 1) * (_ROOT_TABLE / 2), 0, _ROOT_TABLE - 1).astype(np.int32)
    j = np.clip((back + 1) * (_ROOT_TABLE / 2), 0, _ROOT_TABLE - 1).astype(np.int32)
    cell = i * _ROOT_TABLE + j
    lower = np.clip(0.5 - (at.s - 45) / 50, 0, 1)
    roots = materials.roots[0][cell] * (1 - lower) + materials.roots[1][cell] * lower
    fluid = signals.csf + at.crowding * (1.15 * signals.root - signals.csf)
    content = fluid + 0.85 * roots * (signals.root - fluid)
    cord = np.hypot(0.85 * at.u, at.v - centre - 0.5) - at.cord_radius
    content += cover(cord) * np.clip(at.cord_radius, 0, 1) * (signals.cord - content)
    blend(image, cover(outline - 0.6), 0.6 * signals.ligament + 0.2 * signals.fat)
    blend(image, cover(outline), content)
