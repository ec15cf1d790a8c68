"""The tissues around the spine: skin, fat, muscles, vessels, pelvis, bowel and air."""

from __future__ import annotations

import numpy as np

from dicom_sr.findings import Level
from worker.phantom.anatomy import SEGMENT_OF, Anatomy
from worker.phantom.drawing import Pixels, blend, bone, cover, segment_distance
from worker.phantom.spine import Materials, SpineCoordinates


def skin_y_mm(anatomy: Anatomy, z_mm: Pixels) -> Pixels:
    """The y of the skin of the back in the midline at each z: the smoothed lordosis."""
    order = np.argsort(anatomy.z_mm)
    z, y = anatomy.z_mm[order], anatomy.y_mm[order]
    grid = np.arange(z[0], z[-1], 4.0)
    wall = np.interp(grid, z, y)
    width = 13
    padded = np.pad(wall, width, mode="edge")
    smooth = np.convolve(padded, np.ones(2 * width + 1) / (2 * width + 1), mode="valid")
    # The skin follows the sacrum only in part.
    smooth = 0.55 * smooth + 0.45 * np.median(smooth)
    smooth += anatomy.skin_depth_mm + anatomy.subcutaneous_mm
    skin: Pixels = np.interp(z_mm, grid, smooth).astype(np.float32)
    return skin


def draw_surroundings(
    place: SpineCoordinates, x: Pixels, depth: Pixels, anatomy: Anatomy, materials: Materials
) -> Pixels:
    """The background of pixels, same shape as `x`.

    `x` is the distance in mm from the middle of the body, `depth` from the skin of the back.
    """
    signals, out, v, s = materials.signals, place.off_midline, place.v, place.s
    fine, coarse = materials.fine, materials.coarse
    grain, cloud = fine.at(place.u, v, s), coarse.at(x, depth, s)
    image = np.zeros_like(x)
    fat = signals.fat * (0.95 + 0.04 * grain + 0.04 * cloud)
    outside = np.maximum(-depth, depth - anatomy.torso_depth_mm + 0.004 * x * x)
    outside = np.maximum(outside, np.abs(x) - 165)
    blend(image, cover(outside), signals.skin)
    blend(image, cover(outside + 2), fat)

    belly = place.body_depth + v + 10 + 3 * cloud
    bowel = signals.bowel * np.clip(0.7 + 0.35 * coarse.at(depth, x, s), 0.05, 1.6)
    loops = coarse.at(1.3 * x + 40, 1.3 * depth, 1.1 * s)
    within = cover(np.maximum(belly, depth - anatomy.torso_depth_mm + 26), 6)
    blend(image, within * cover(-0.15 - loops, 0.5), bowel)
    blend(image, within * cover(1.35 - loops, 0.3), 0.05)

    _draw_muscles(image, place, depth, anatomy, materials, grain)
    _draw_vessels(image, place, anatomy, materials)
    _draw_pelvis(image, place, materials, grain)
    groove = 0.003 * (np.minimum(out, 60) - 26) ** 2
    fascia = np.abs(depth - anatomy.subcutaneous_mm - groove) - 0.5
    blend(image, cover(np.maximum(fascia, out - 90)) * 0.8, signals.ligament)
    septa = np.abs(np.sin(0.55 * depth + 1.1 * cloud)) - 0.06
    blend(image, cover(septa, 0.1) * cover(depth - anatomy.subcutaneous_mm + 2) * 0.25, 0.3)
    image *= cover(outside)
    return image


def _draw_muscles(
    image: Pixels,
    place: SpineCoordinates,
    depth: Pixels,
    anatomy: Anatomy,
    materials: Materials,
    grain: Pixels,
) -> None:
    signals, out, v, s = materials.signals, place.off_midline, place.v, place.s
    # Fat runs between the bundles, which fan out from the laminae and follow the spine.
    angle, radius = np.arctan2(v - 12, out - 9), np.hypot(v - 12, out - 9)
    fan = (26 + 7 * np.sign(place.u)) * angle
    strands = 0.8 * materials.fine.at(fan, 0.12 * radius, s, stretch=5.0)
    strands += 0.9 * materials.coarse.at(1.3 * place.u, 1.3 * v, s, stretch=2.0) + 0.2 * grain
    lower = np.clip((60 - s) / 90, 0, 1)
    fatty = anatomy.fat_infiltration * (0.5 + 0.9 * lower)
    streak = np.clip((strands - 1.7 + 1.7 * fatty) * 0.6, 0, 1)
    muscle = signals.muscle * (1 + 0.08 * grain)
    streaked = muscle + streak * (0.85 * signals.fat - muscle)
    front = 9 + 4 * np.clip((out - 22) / 30, 0, 1)
    # The muscles bulge on either side; fat fills the groove in the midline.
    back = anatomy.subcutaneous_mm + 1.2 + 0.003 * (out - 26) ** 2 - depth
    rounded = np.hypot(np.maximum(out - 28, 0) / 40, (v - 27) / 24)
    erector = np.maximum(np.maximum(front - v, back), (rounded - 1) * 24)
    erector = np.maximum(erector, 4.2 - out)
    blend(image, cover(erector, 1.5), streaked)
    border = np.abs(out - 27 - 0.25 * (v - 25)) - 0.5
    blend(image, cover(np.maximum(border, erector)) * 0.7, 0.8 * signals.fat)

    size = np.clip((130 - s) / 110, 0.25, 1)
    centre = 33 + 5 * size + 14 * np.clip((18 - s) / 50, 0, 1.2)
    psoas_v = -14 - 22 * np.clip((12 - s) / 50, 0, 1.5)
    psoas = np.sqrt(
        ((out - centre) / (6 + 12 * size)) ** 2 + ((v - psoas_v) / (8 + 12 * size)) ** 2
    )
    blend(image, cover((psoas - 1) * 14, 1.5), muscle)
    loin = (np.hypot((out - 58) / 17, (v - 7 - 0.25 * (out - 58)) / 7) - 1) * 7
    blend(image, cover(np.maximum(loin, -s), 1.5), muscle)
    wall = np.abs(out - 112 + 0.0012 * v * v) - 10
    blend(image, cover(np.maximum(wall, v - 25), 1.5), muscle)


def _draw_vessels(
    image: Pixels, place: SpineCoordinates, anatomy: Anatomy, materials: Materials
) -> None:
    signals = materials.signals
    u, s, front = place.u, place.s, place.v + place.body_depth
    fork = anatomy.disc_s_mm[SEGMENT_OF[Level.L4_L5]] + 14
    apart = np.clip((fork - s) / 60, 0, 1)
    for start, spread, radius in ((7.0, 20.0, 8.5), (-14.0, -20.0, 10.0), (7.0, -16.0, 6.5)):
        centre = start + spread * apart
        narrow = radius * (1 - 0.35 * apart)
        vessel = np.hypot((u - centre), front + narrow + 2 + 5 * apart) - narrow
        if (start, spread) == (7.0, -16.0):
            vessel = np.maximum(vessel, s - fork)
        blend(image, cover(vessel), 0.5 * signals.muscle)
        blend(image, cover(vessel + 1.3), signals.vessel)


def _draw_pelvis(
    image: Pixels, place: SpineCoordinates, materials: Materials, grain: Pixels
) -> None:
    signals, out, v, s = materials.signals, place.off_midline, place.v, place.s
    marrow = signals.marrow * (1 + 0.1 * grain)
    wing = np.sqrt(((out - 30) / 21) ** 2 + ((v - 1) / 14) ** 2 + ((s + 30) / 22) ** 2)
    bone(image, (wing - 1) * 14, signals.cortex, marrow)
    ilium = segment_distance(out, v, (46.0, 26.0), (84.0, -24.0)) - 7.5
    bone(image, np.maximum(ilium, s - 16 + 0.1 * out), signals.cortex, marrow)
    kidney = np.sqrt(((out - 60) / 24) ** 2 + ((v + 14) / 24) ** 2 + ((s - 150) / 48) ** 2)
    blend(image, cover((kidney - 1) * 24), 1.7 * signals.muscle)
