"""Renders the pixels of a slice from the anatomy, as a scanner with a spine coil would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicom_sr.findings import Severity, Target
from worker.domain.geometry import Plane
from worker.domain.study import Role
from worker.phantom.anatomy import STEP_MM, Anatomy
from worker.phantom.drawing import Pixels, Texture, cover, double
from worker.phantom.profiles import Profiles, build_profiles
from worker.phantom.randomness import stream
from worker.phantom.spine import Materials, SpineCoordinates, draw_roots, draw_spine
from worker.phantom.surroundings import draw_surroundings, skin_y_mm
from worker.phantom.tissue import draw_signals

SUBSLICES: Final = (-0.3, 0.3)
"""Sampling positions through the slice, in fractions of its thickness (partial volume)."""


@dataclass(frozen=True, eq=False)
class Imaging:
    """The imaging parameters of one series: coil, noise, blur and scale."""

    reach_mm: float
    bias: float
    noise: float
    blur_px: float
    scale: float
    anterior_saturation: float
    """Factor of the signal in front of the spine."""

    @classmethod
    def draw(cls, seed: int, role: Role) -> Imaging:
        """Generate the parameters of a series from the seed."""
        rng = stream(seed, "camera", role)
        sagittal_t2 = role is Role.SAGITTAL_T2
        return cls(
            reach_mm=float(rng.uniform(55, 120)),
            bias=float(rng.uniform(0.03, 0.12)),
            noise=float(np.exp(rng.uniform(np.log(0.008), np.log(0.035)))),
            blur_px=float(rng.uniform(0.45, 0.75)),
            scale=float(np.exp(rng.uniform(np.log(250), np.log(1600)))),
            anterior_saturation=float(rng.uniform(0.25, 0.7)) if sagittal_t2 else 1.0,
        )


@dataclass(frozen=True, eq=False)
class Scene:
    """The anatomy, materials and imaging parameters of one series."""

    anatomy: Anatomy
    profiles: Profiles
    materials: Materials
    imaging: Imaging
    role: Role


def draw_scenes(anatomy: Anatomy, severities: Mapping[Target, Severity]) -> dict[Role, Scene]:
    """The scene of each of the three series; only contrast and imaging differ."""
    seed = anatomy.seed
    profiles = build_profiles(anatomy, severities)
    fine = Texture.draw(seed, "fine", grain_mm=0.9, smooth=0.8)
    coarse = Texture.draw(seed, "coarse", grain_mm=1.7, smooth=3.2)
    roots = draw_roots(seed)
    return {
        role: Scene(
            anatomy=anatomy,
            profiles=profiles,
            materials=Materials(draw_signals(seed, role), fine, coarse, roots),
            imaging=Imaging.draw(seed, role),
            role=role,
        )
        for role in Role
    }


def render(scene: Scene, plane: Plane, thickness_mm: float, index: int) -> NDArray[np.uint16]:
    """One slice, shape (rows, columns), both even; `index` selects the noise of the slice."""
    anatomy = scene.anatomy
    x, y, z = _half_grid(plane)
    s, v = _look_up(anatomy, y, z)
    depth = skin_y_mm(anatomy, z) - y
    middle_x = np.float32(np.median(anatomy.x_mm))
    depth -= np.float32(0.0019) * (x - middle_x) ** 2 - 3
    depth -= 6 * np.exp(-(((x - middle_x) / 20) ** 2))  # the groove along the midline
    place = _place(scene, x, s, v)
    image = double(draw_surroundings(place, x - middle_x, depth, anatomy, scene.materials))
    gain = double(_coil(scene, place, depth, z))
    window = _spine_window(place)
    if window is not None:
        x_full = _full_x(plane)
        here = np.s_[2 * window[0] : 2 * window[1], 2 * window[2] : 2 * window[3]]
        s_full, v_full = double(s)[here], double(v)[here]
        background = image[here].ravel()
        total = np.zeros_like(background)
        for part in SUBSLICES:
            moved = _shifted(
                scene, x_full[here], s_full, v_full, plane.normal * part * thickness_mm
            )
            layer = background.copy()
            draw_spine(layer, moved, scene.materials)
            total += layer
        image[here] = (total / len(SUBSLICES)).reshape(s_full.shape)
    return _expose(scene, image * gain, index)


def _half_grid(plane: Plane) -> tuple[Pixels, Pixels, Pixels]:
    columns = (2 * np.arange(plane.columns // 2) + 0.5) * plane.column_spacing_mm
    rows = (2 * np.arange(plane.rows // 2) + 0.5) * plane.row_spacing_mm
    axes = zip(plane.position_mm, plane.along_columns, plane.along_rows, strict=True)
    x, y, z = ((p + c * columns + r * rows[:, None]).astype(np.float32) for p, c, r in axes)
    return x, y, z


def _full_x(plane: Plane) -> Pixels:
    columns = np.arange(plane.columns) * plane.column_spacing_mm * plane.along_columns[0]
    rows = np.arange(plane.rows) * plane.row_spacing_mm * plane.along_rows[0]
    full: Pixels = (plane.position_mm[0] + columns + rows[:, None]).astype(np.float32)
    return full


def _look_up(anatomy: Anatomy, y: Pixels, z: Pixels) -> tuple[Pixels, Pixels]:
    table = anatomy.sagittal_map
    at = np.stack([(z - table.z0_mm) / table.spacing_mm, (y - table.y0_mm) / table.spacing_mm])
    s, v = (
        ndimage.map_coordinates(a, at, order=1, mode="nearest", output=np.float32)
        for a in (table.s_mm, table.v_mm)
    )
    return s, v


def _index(scene: Scene, s: Pixels) -> NDArray[np.int32]:
    first = np.float32(scene.anatomy.s_mm[0])
    index = ((s - first) * np.float32(1 / STEP_MM) + np.float32(0.5)).astype(np.int32)
    return np.clip(index, 0, scene.profiles.samples - 1)


def _place(scene: Scene, x: Pixels, s: Pixels, v: Pixels) -> SpineCoordinates:
    # Two steps: the position on the curve, then the tilt of the level by scoliosis.
    index = _index(scene, s)
    u = x - scene.anatomy.x_mm.astype(np.float32)[index]
    s = s + scene.anatomy.scoliosis.astype(np.float32)[index] * u
    return SpineCoordinates(u, v, s, _index(scene, s), scene.profiles)


def _shifted(
    scene: Scene, x: Pixels, s: Pixels, v: Pixels, move: NDArray[np.float64]
) -> SpineCoordinates:
    tilt = scene.anatomy.tilt_rad[_index(scene, s).ravel()].astype(np.float32)
    sin, cos = np.sin(tilt), np.cos(tilt)
    dx, dy, dz = (np.float32(m) for m in move)
    s_moved = s.ravel() - dy * sin + dz * cos
    v_moved = v.ravel() + dy * cos + dz * sin
    return _place(scene, x.ravel() + dx, s_moved, v_moved)


def _spine_window(place: SpineCoordinates) -> tuple[int, int, int, int] | None:
    # Rows and columns of the half grid within reach of the tissues of the spine.
    near = (place.off_midline < 36) & (place.v > -48) & (place.v < 62)
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    if not len(rows):
        return None
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _coil(scene: Scene, place: SpineCoordinates, depth: Pixels, z: Pixels) -> Pixels:
    imaging = scene.imaging
    near = 1.25 / (1 + (np.maximum(depth, 0) / np.float32(imaging.reach_mm)) ** 2)
    length = np.float32(np.median(scene.anatomy.z_mm))
    near *= np.exp(-(((z - length) / 215) ** 4))
    near *= 1 + imaging.bias * np.sin(0.013 * z + 0.02 * place.u + 40 * imaging.bias)
    in_front = cover(place.v + place.body_depth + 16, 14)
    near *= 1 + (imaging.anterior_saturation - 1) * in_front
    return near.astype(np.float32)


def _expose(scene: Scene, image: Pixels, index: int) -> NDArray[np.uint16]:
    imaging = scene.imaging
    image = ndimage.gaussian_filter(image, imaging.blur_px)
    rng = stream(scene.anatomy.seed, "noise", scene.role, index)
    real, imaginary = rng.standard_normal((2, *image.shape), dtype=np.float32)
    image = np.hypot(image + imaging.noise * real, imaging.noise * imaginary)
    stored: NDArray[np.uint16] = np.clip(np.rint(image * imaging.scale), 0, 4095).astype(np.uint16)
    return stored
