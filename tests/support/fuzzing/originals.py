"""The studies before anything is done to them, each as DICOM files in memory."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from io import BytesIO

from pydicom import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from tests.support.enhanced import enhanced
from tests.support.fuzzing.values import MARKS
from worker.domain.study import Role
from worker.phantom import Phantom, make_phantom
from worker.phantom.headers import image
from worker.phantom.protocol import SliceCounts

KINDS = {
    "classic": ExplicitVRLittleEndian,
    "enhanced": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "RLE": RLELossless,
    "JPEG 2000": JPEG2000Lossless,
    "JPEG-LS": JPEGLSLossless,
}
"""How a study is stored, most often first."""

FEW = SliceCounts(7, 5, 10)
KEPT = {
    Role.SAGITTAL_T1: slice(1, 6),
    Role.SAGITTAL_T2: slice(0, 5),
    Role.AXIAL_T2: slice(0, 10, 2),
}
"""The five slices of each series that show most: the fewest that routing takes for a stack."""

THINNED = 8
"""Every eighth pixel is kept: what is fuzzed are headers and bytes, not anatomy."""


@cache
def original(kind: str) -> tuple[tuple[bytes, ...], ...]:
    """The files of the study as one of `KINDS`, by series: T1, T2, axial T2."""
    syntax = KINDS[kind]
    phantom = _phantom()
    made = []
    for series in phantom.series:
        images = [image(phantom, series, n) for n in range(len(series.pixels))]
        for one in images:
            one.PatientName, one.PatientID, one.PatientBirthDate = f"{MARKS[0]}^Jörg", *MARKS[1:]
        if kind == "enhanced":
            images = [enhanced(images)]
        made.append(tuple(_stored(one, syntax) for one in images))
    return tuple(made)


@cache
def _phantom() -> Phantom:
    phantom = make_phantom(7, slices=FEW)
    thinned = []
    for series in phantom.series:
        kept = KEPT[series.role]
        pixels = series.pixels[kept, ::THINNED, ::THINNED]
        _, rows, columns = pixels.shape
        planes = tuple(
            replace(
                plane,
                rows=rows,
                columns=columns,
                row_spacing_mm=plane.row_spacing_mm * THINNED,
                column_spacing_mm=plane.column_spacing_mm * THINNED,
            )
            for plane in series.planes[kept]
        )
        thinned.append(
            replace(
                series,
                pixels=pixels,
                sop_instance_uids=series.sop_instance_uids[kept],
                acquisition=replace(series.acquisition, planes=planes),
            )
        )
    return replace(phantom, series=tuple(thinned))


def _stored(dataset: Dataset, syntax: str) -> bytes:
    if syntax in (RLELossless, JPEG2000Lossless, JPEGLSLossless):
        dataset.compress(syntax, generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian:
        dataset.PixelData = b"".join(
            dataset.PixelData[n : n + 2][::-1] for n in range(0, len(dataset.PixelData), 2)
        )
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = BytesIO()
    dataset.save_as(
        buffer,
        enforce_file_format=True,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
    )
    return buffer.getvalue()
