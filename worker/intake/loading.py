"""Loads the pixels of the routed series as volumes, ordered along their normals."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from pydicom import Dataset

from dicom_sr.findings import ImageReference
from worker.domain.study import (
    Repair,
    RepairKind,
    Role,
    RoutedStudy,
    Series,
    SliceHeader,
    Unreadable,
)
from worker.domain.volume import Volume, Volumes
from worker.errors import BrokenStudy
from worker.intake.alignment import in_one_space
from worker.intake.decoding import Frames, decode, pixels_of
from worker.intake.pixel_limits import MAX_VOXELS, DecompressionBomb, NoPixels, declared_shape
from worker.intake.rules import MIN_SLICES
from worker.intake.stacks import stacks

Fetch = Callable[[Sequence[str]], Iterator[tuple[str, bytes]]]
"""`Archive.fetch`: keys to (key, DICOM file), in any order."""

DECODERS: Final = 2
"""Threads that decode; the codecs release the interpreter lock."""

_IN_FLIGHT: Final = 16
"""Objects fetched and not yet decoded; limits the memory."""


def load(
    routed: RoutedStudy, fetch: Fetch, *, on_slice: Callable[[int], None] | None = None
) -> Volumes:
    """Fetch, decode and stack the routed series.

    Of a sagittal role the best series is read, or the next one where too few slices can be
    decoded; of the axial role all are. Every object is decoded once. A slice that cannot be
    decoded is left out and recorded, as is a second slice at the same position.
    `on_slice` is called with the number of slices of each decoded object.
    The result does not depend on the order in which `fetch` yields objects.

    Raises BrokenStudy when no routed image can be decoded, or when the series have more
    than `MAX_VOXELS` pixels.
    """
    wanted = [
        *(routed.roles[role][0] for role in _SAGITTAL if routed.roles.get(role)),
        *routed.roles.get(Role.AXIAL_T2, ()),
    ]
    reader = _Reader(routed.study.sources, fetch, on_slice)
    reader.read(wanted)
    found: dict[Role, tuple[Volume, ...]] = {}
    for role in _SAGITTAL:
        for series in routed.roles.get(role, ()):
            reader.read([series])
            volumes = reader.volumes(series, role)
            # A site rule can give a role to fewer.
            least = min(MIN_SLICES, len(series.slices))
            if sum(len(volume.slices) for volume in volumes) >= least:
                found[role] = volumes
                break
    found[Role.AXIAL_T2] = tuple(
        volume
        for series in routed.roles.get(Role.AXIAL_T2, ())
        for volume in reader.volumes(series, Role.AXIAL_T2)
    )
    if wanted and not any(found.values()):
        why = ", ".join(reader.reasons)
        raise BrokenStudy(
            f"no image of the routed series can be decoded ({why}); check the system that sent them"
        )
    return in_one_space(
        Volumes(
            sagittal_t1=found.get(Role.SAGITTAL_T1, ()),
            sagittal_t2=found.get(Role.SAGITTAL_T2, ()),
            axial_t2=found[Role.AXIAL_T2],
            repairs=reader.repairs,
        )
    )


_SAGITTAL: Final = (Role.SAGITTAL_T1, Role.SAGITTAL_T2)


@dataclass
class _Reader:
    """Decoded objects by key, and the slices that could not be used."""

    sources: Mapping[tuple[str, str], Dataset]
    fetch: Fetch
    on_slice: Callable[[int], None] | None
    _decoded: dict[str, Frames | Unreadable] = field(default_factory=dict)
    _lost: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _repeated: Counter[str] = field(default_factory=Counter)
    _voxels: int = 0

    def read(self, series: Sequence[Series]) -> None:
        """Fetch and decode the objects of these series that are not decoded yet."""
        images = {header.key: header.image for one in series for header in one.slices}
        keys = images.keys() - self._decoded.keys()
        if not keys:
            return
        if self._voxels + sum(self._declared(images[key]) for key in keys) > MAX_VOXELS:
            raise BrokenStudy(
                f"the routed series have more than {MAX_VOXELS // 10**6} million pixels in total; "
                "send only the series to grade"
            )
        pending: dict[str, Future[Frames | Unreadable]] = {}
        with ThreadPoolExecutor(DECODERS) as pool:
            for key, content in self.fetch(sorted(keys)):
                pending[key] = pool.submit(decode, key, content)
                if len(pending) >= _IN_FLIGHT:
                    self._keep(pending)
            while pending:
                self._keep(pending)
        for key in keys - self._decoded.keys():
            self._decoded[key] = Unreadable(key, "no longer in the archive")

    def _keep(self, pending: dict[str, Future[Frames | Unreadable]]) -> None:
        """Wait for the oldest pending object."""
        key = next(iter(pending))
        result = pending.pop(key).result()
        self._decoded[key] = result
        if isinstance(result, Unreadable):
            return
        self._voxels += result.size
        if self.on_slice is not None:
            self.on_slice(len(result))

    def _declared(self, image: ImageReference) -> int:
        """The number of pixels that an object declares; 0 where the limits reject it."""
        try:
            return math.prod(
                declared_shape(self.sources[image.series_instance_uid, image.sop_instance_uid])
            )
        except (NoPixels, DecompressionBomb):
            return 0

    def volumes(self, series: Series, role: Role) -> tuple[Volume, ...]:
        """The volumes of one decoded series; its decoded objects are released."""
        lost: Counter[str] = Counter()
        usable: list[SliceHeader] = []
        for header in series.slices:
            error = self._error(header)
            if error is None:
                usable.append(header)
            else:
                lost[error] += 1
        found, repeated = stacks(usable)
        volumes = tuple(
            Volume(
                role=role,
                pixels=np.stack([self._pixels(header) for header in stack]),
                slices=stack,
                patient_position=series.patient_position,
                frame_of_reference_uid=series.frame_of_reference_uid,
            )
            for stack in found
        )
        if lost:
            self._lost[series.series_instance_uid] = lost
        if repeated:
            self._repeated[series.series_instance_uid] = len(repeated)
        if not series.part:  # another part may hold other frames of the same objects
            for header in series.slices:
                self._decoded[header.key] = Unreadable(header.key, "used")
        return volumes

    def _error(self, header: SliceHeader) -> str | None:
        """Why a slice cannot be used; None where it can."""
        frames = self._decoded[header.key]
        if isinstance(frames, Unreadable):
            return frames.error
        return "pixels do not match the header" if pixels_of(header, frames) is None else None

    def _pixels(self, header: SliceHeader) -> Frames:
        frames = self._decoded[header.key]
        assert not isinstance(frames, Unreadable)
        pixels = pixels_of(header, frames)
        assert pixels is not None
        return pixels

    @property
    def reasons(self) -> list[str]:
        """The distinct reasons for which slices were left out."""
        return sorted({error for errors in self._lost.values() for error in errors})

    @property
    def repairs(self) -> tuple[Repair, ...]:
        """The slices left out, by series."""
        lost = [
            Repair(
                RepairKind.UNREADABLE, uid, errors.total(), f"left out: {', '.join(sorted(errors))}"
            )
            for uid, errors in sorted(self._lost.items())
        ]
        repeated = [
            Repair(RepairKind.DUPLICATE, uid, count, "another slice has the same position")
            for uid, count in sorted(self._repeated.items())
        ]
        return (*lost, *repeated)
