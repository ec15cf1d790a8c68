"""Tiny studies in memory: headers and files as scanners (and bad exports) write them."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from worker.domain.study import Instance

PLANES = {
    "sagittal": (0, 1, 0, 0, 0, -1),
    "axial": (1, 0, 0, 0, 1, 0),
    "coronal": (1, 0, 0, 0, 0, -1),
    "oblique axial": (1, 0, 0, 0, 0.819152, -0.573576),
    "oblique sagittal": (0.173648, 0.984808, 0, 0, 0, -1),
}
"""The directions of the columns' and rows' growth; oblique: 35 and 10 degrees off."""

STEPS = {"sagittal": (4, 0, 0), "axial": (0, 0, 4), "coronal": (0, 4, 0)}
STARTS = {"sagittal": (-30, -140, 140), "axial": (-90, -90, -80), "coronal": (-140, -60, 140)}

MakeSlice = Callable[..., Dataset]


@pytest.fixture
def make_slice() -> MakeSlice:
    """One header: plane by name, `k` along the stack, further attributes by keyword.

    An attribute given as None is left out altogether.
    """

    def make(plane: str = "sagittal", k: int = 0, series: str = "1.2.3.1", **changes: object):
        nearest = plane.removeprefix("oblique ")
        start = np.array(STARTS[nearest]) + k * np.array(STEPS[nearest])
        header = Dataset()
        attributes: dict[str, object] = {
            "SOPClassUID": MRImageStorage,
            "SOPInstanceUID": f"{series}.{k + 1}",
            "StudyInstanceUID": "1.2.3",
            "SeriesInstanceUID": series,
            "FrameOfReferenceUID": "1.2.3.99",
            "PatientPosition": "HFS",
            "Modality": "MR",
            "InstanceNumber": k + 1,
            "ImageOrientationPatient": list(PLANES[plane]),
            "ImagePositionPatient": [float(v) for v in start],
            "PixelSpacing": [280 / 64, 280 / 64] if nearest != "axial" else [180 / 64, 180 / 64],
            "Rows": 64,
            "Columns": 64,
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "BitsAllocated": 16,
            "BitsStored": 12,
            "HighBit": 11,
            "PixelRepresentation": 0,
        }
        for keyword, value in (attributes | changes).items():
            if value is not None:
                setattr(header, keyword, value)
        return header

    return make


@pytest.fixture
def make_series(make_slice: MakeSlice):
    """The instances of one series, `count` slices."""

    def make(plane: str, series: str, count: int = 15, **changes: object) -> list[Instance]:
        return [
            Instance(f"{series}/{k}", make_slice(plane, k, series, **changes)) for k in range(count)
        ]

    return make


@pytest.fixture
def to_bytes() -> Callable[..., bytes]:
    """A header and its pixels as an uncompressed DICOM file."""

    def write(header: Dataset, pixels: np.ndarray, syntax: str = ExplicitVRLittleEndian) -> bytes:
        file = Dataset()
        file.update(header)
        file.PixelData = pixels.tobytes()
        file["PixelData"].VR = "OW" if pixels.itemsize > 1 else "OB"
        file.file_meta = FileMetaDataset()
        file.file_meta.TransferSyntaxUID = syntax
        buffer = BytesIO()
        file.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()

    return write
