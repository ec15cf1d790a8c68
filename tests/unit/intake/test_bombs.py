"""Headers and streams that declare too many pixels are rejected before memory is allocated."""

import json
import struct
import subprocess
import sys
import zlib
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread, uid

from tests.support.encoders import HTJ2K_LOSSLESS, by_dcmtk, compressed, holding, to_file
from worker.intake.decoding import decode, read_header

pytestmark = pytest.mark.slow


MOST_MIB = 47  # 50 MB
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)

MEASURE = """
import json, pathlib, sys
from worker.intake.decoding import decode, read_header

def peak_kib():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])

found = []
for path in sys.argv[1:]:
    content = pathlib.Path(path).read_bytes()
    # 5 resets the peak to what is resident now, see proc(5).
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = peak_kib()
    read_header("k", content)
    result = decode("k", content)
    found.append((getattr(result, "error", "decoded"), (peak_kib() - before) / 1024))
    del result
print(json.dumps(found))
"""
"""Decodes files in a separate process, and reports the peak memory of each in MiB."""


def measured(folder, files):
    """For each file the error it was refused with, and the peak of memory above the start."""
    paths = []
    for number, file in enumerate(files):
        paths.append(folder / f"{number}.dcm")
        paths[-1].write_bytes(file)
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, *paths], check=True, capture_output=True, timeout=120
    )
    return json.loads(run.stdout)


ENCODERS = {
    "explicit": lambda file: file,
    "implicit": lambda file: file,
    "big endian": lambda file: file,
    "deflated": lambda file: file,
    "RLE": lambda file: compressed(file, uid.RLELossless),
    "JPEG lossless": lambda file: by_dcmtk(file, "dcmcjpeg", "+e1"),
    "JPEG extended": lambda file: by_dcmtk(file, "dcmcjpeg", "+ee"),
    "JPEG-LS": lambda file: compressed(file, uid.JPEGLSLossless),
    "JPEG 2000": lambda file: compressed(file, uid.JPEG2000Lossless),
    "HTJ2K": lambda file: holding(file, uid.HTJ2KLossless, HTJ2K_LOSSLESS),
}
NATIVE = {
    "implicit": uid.ImplicitVRLittleEndian,
    "big endian": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
}
CLAIMS = {
    "65,535 x 65,535": {"Rows": 65535, "Columns": 65535},
    "65,535 x 65,535 x 1,000": {"Rows": 65535, "Columns": 65535, "NumberOfFrames": 1000},
    "two billion frames": {"NumberOfFrames": 2_000_000_000},
    "4,096 x 4,096 x 8": {"Rows": 4096, "Columns": 4096, "NumberOfFrames": 8},
}


@pytest.fixture
def claiming(make_slice, to_bytes):
    """A small picture in one encoding, whose header then claims something else."""

    def make(encoding, claim):
        file = ENCODERS[encoding](
            to_bytes(make_slice(), RAMP, NATIVE.get(encoding, uid.ExplicitVRLittleEndian))
        )
        return rewritten(file, claim)

    return make


def rewritten(file, claim):
    """The file with other values in its header."""
    dataset = dcmread(BytesIO(file))
    for keyword, value in claim.items():
        setattr(dataset, keyword, value)
    return to_file(dataset)


def test_a_header_that_claims_too_much_costs_nothing(claiming, tmp_path):
    """In every class of transfer syntax giant matrices and frame counts cost less than 50 MB."""
    cases = [(encoding, claim) for encoding in ENCODERS for claim in CLAIMS]
    files = [claiming(encoding, CLAIMS[claim]) for encoding, claim in cases]
    for case, (error, cost_mib) in zip(cases, measured(tmp_path, files), strict=True):
        assert error == "DecompressionBomb", case
        assert cost_mib < MOST_MIB, case


def test_it_is_the_peak_that_is_measured(make_slice, to_bytes, tmp_path):
    """An honest object of 64 MB does show as memory: the measure can fail."""
    pixels = np.zeros((64, 512, 1024), np.uint16)
    header = make_slice(Rows=512, Columns=1024, NumberOfFrames=64)
    ((error, cost_mib),) = measured(tmp_path, [to_bytes(header, pixels)])
    assert error == "decoded"
    assert cost_mib > 100


def patched(file, marker, offset, layout, *numbers):
    """A file whose first marker of that kind has other numbers behind it."""
    at = file.index(marker) + offset
    return file[:at] + struct.pack(layout, *numbers) + file[at + struct.calcsize(layout) :]


def test_a_stream_that_claims_too_much_never_reaches_its_codec(make_slice, to_bytes, tmp_path):
    """Streams larger than their header, of 16,384 components or no size cost less than 50 MB.

    A stream that is broken is not called a bomb.
    """
    plain = to_bytes(make_slice(), RAMP)
    giant = {"Rows": 65535, "Columns": 65535}
    jpeg2000, ls = (compressed(plain, s) for s in (uid.JPEG2000Lossless, uid.JPEGLSLossless))
    lossless = by_dcmtk(plain, "dcmcjpeg", "+e1")
    size = b"\xff\x4f\xff\x51"
    large = [
        patched(jpeg2000, size, 8, ">2I", 65535, 65535),
        patched(ls, b"\xff\xf7", 5, ">2H", 65535, 65535),
        patched(lossless, b"\xff\xc3", 5, ">2H", 65535, 65535),
    ]
    files = [
        *large,
        *(rewritten(file, giant) for file in large),
        rewritten(jpeg2000, {"Rows": 32}),
        rewritten(ls, {"Rows": 32}),
        rewritten(lossless, {"Rows": 32}),
    ]
    broken = [
        patched(jpeg2000, size, 40, ">H", 16384),
        patched(jpeg2000, size, 0, ">H", 0),
        patched(ls, b"\xff\xf7", 0, ">H", 0),
        patched(lossless, b"\xff\xc3", 0, ">H", 0),
    ]
    expected = ["DecompressionBomb"] * len(files) + ["BrokenStream"] * len(broken)
    found = measured(tmp_path, [*files, *broken])
    assert [error for error, _ in found] == expected
    assert all(cost_mib < MOST_MIB for _, cost_mib in found)


def deflated(file, *, before=b"", after=b""):
    """The same deflated file with more in its data set, deflated too."""
    # The file meta information says how long it is (PS3.10 7.1).
    start = 144 + struct.unpack_from("<I", file, 140)[0]
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = (before, zlib.decompress(file[start:], -zlib.MAX_WBITS), after)
    return file[:start] + b"".join(map(packer.compress, parts)) + packer.flush()


def test_a_deflated_bomb_is_inflated_no_further_than_its_header_says(
    make_slice, to_bytes, tmp_path
):
    """200 MB of zeros behind small pixels, or within the header, cost less than 50 MB."""
    small = to_bytes(make_slice(), RAMP, uid.DeflatedExplicitVRLittleEndian)
    zeros = bytes(200_000_000)
    # Data Set Trailing Padding behind the pixels, a private element before all others.
    after = struct.pack("<HH2sHI", 0xFFFC, 0xFFFC, b"OB", 0, len(zeros)) + zeros
    before = struct.pack("<HH2sHI", 0x0003, 0x1010, b"OB", 0, len(zeros)) + zeros
    files = [
        deflated(small, after=after),
        deflated(rewritten(small, {"Rows": 65535, "Columns": 65535}), after=after),
        deflated(small, before=before),
    ]
    assert all(len(file) < 2_000_000 for file in files)
    for error, cost_mib in measured(tmp_path, files):
        assert error == "DecompressionBomb"
        assert cost_mib < MOST_MIB


def test_a_deflated_header_is_read_without_its_pixels(make_slice, to_bytes):
    """An honest deflated object of any size gives its header, and pixels where they fit it."""
    pixels = np.arange(8 * 1024 * 1024, dtype=np.uint16).reshape(8, 1024, 1024)
    header = make_slice(Rows=1024, Columns=1024, NumberOfFrames=8, BitsStored=16, HighBit=15)
    file = to_bytes(header, pixels, uid.DeflatedExplicitVRLittleEndian)
    assert read_header("k", file).header.NumberOfFrames == 8
    assert np.array_equal(decode("k", file), pixels)
