"""The decoder boundary: every transfer syntax, and no exception for any bytes."""

import os
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from worker.intake import gdcm_child
from worker.intake.codestreams import stream_size
from worker.intake.decoding import decode, read_header
from worker.intake.elements import number
from worker.nouns.study import Instance, Unreadable

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def compressed(file: bytes, syntax: str) -> bytes:
    dataset = dcmread(BytesIO(file))
    dataset.compress(syntax)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian],
    ids=lambda uid: uid.keyword,
)
def test_uncompressed_syntaxes_give_the_stored_values(make_slice, to_bytes, syntax):
    """Native little-endian and deflated files decode to exactly what was stored."""
    frames = decode("k", to_bytes(make_slice(), RAMP, syntax))
    assert np.array_equal(frames, RAMP[None])
    assert frames.dtype == np.float32


def test_big_endian_is_swapped(make_slice, to_bytes):
    """Explicit VR big endian gives the same numbers as little endian."""
    frames = decode("k", to_bytes(make_slice(), RAMP.astype(">u2"), ExplicitVRBigEndian))
    assert np.array_equal(frames, RAMP[None])


@pytest.mark.parametrize(
    "syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless], ids=lambda uid: uid.keyword
)
def test_lossless_codecs_give_the_stored_values(make_slice, to_bytes, syntax):
    """RLE, JPEG 2000 and JPEG-LS decode to exactly what was stored."""
    file = compressed(to_bytes(make_slice(), RAMP), syntax)
    assert np.array_equal(decode("k", file), RAMP[None])


@pytest.fixture
def jpeg_lossless(make_slice, to_bytes, tmp_path):
    """The ramp in JPEG Lossless (process 14, first-order), as most MR archives hold images."""
    import gdcm

    (tmp_path / "in.dcm").write_bytes(to_bytes(make_slice(), RAMP))
    reader = gdcm.ImageReader()
    reader.SetFileName(str(tmp_path / "in.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(tmp_path / "out.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return (tmp_path / "out.dcm").read_bytes()


def test_jpeg_lossless_gives_the_stored_values(jpeg_lossless):
    """JPEG Lossless decodes exactly, from several threads at once."""
    syntax = dcmread(BytesIO(jpeg_lossless)).file_meta.TransferSyntaxUID
    assert syntax == "1.2.840.10008.1.2.4.70"
    with ThreadPoolExecutor(4) as pool:
        for frames in pool.map(lambda n: decode(str(n), jpeg_lossless), range(8)):
            assert np.array_equal(frames, RAMP[None])


def test_a_crash_of_the_jpeg_codec_costs_one_object(jpeg_lossless):
    """When the codec's process dies, the object is unreadable and the next one decodes."""
    assert np.array_equal(decode("k", jpeg_lossless), RAMP[None])
    gdcm_child._children[os.getpid()].kill()
    gdcm_child._children[os.getpid()].wait()
    assert np.array_equal(decode("k", jpeg_lossless), RAMP[None])
    stream = jpeg_lossless.index(b"\xff\xd8\xff")
    rng = np.random.default_rng(0)
    for _ in range(12):
        broken = bytearray(jpeg_lossless)
        for at in rng.integers(stream + 2, stream + 100, 6):
            broken[at] = rng.integers(256)
        result = decode("k", bytes(broken))
        assert isinstance(result, Unreadable) or result.shape == (1, 64, 64)
    assert np.array_equal(decode("k", jpeg_lossless), RAMP[None])


def test_signed_pixels_and_rescale(make_slice, to_bytes):
    """Negative stored values survive, and slope and intercept are applied."""
    stored = RAMP.astype(np.int16) - 2000
    header = make_slice(
        PixelRepresentation=1, BitsStored=16, HighBit=15, RescaleSlope=2, RescaleIntercept=-5
    )
    assert np.array_equal(decode("k", to_bytes(header, stored)), stored[None] * 2.0 - 5)


def test_monochrome1_is_inverted_within_the_stored_range(make_slice, to_bytes):
    """Bright is bright: the lowest MONOCHROME1 value becomes the highest of the 12 bits."""
    header = make_slice(PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(decode("k", to_bytes(header, RAMP)), 4095.0 - RAMP[None])


def test_enhanced_frames_have_their_own_rescale(make_slice, to_bytes):
    """The Pixel Value Transformation group of each frame is used, not the first one's."""
    groups = []
    for slope in (1, 3):
        transformation, frame = Dataset(), Dataset()
        transformation.RescaleSlope, transformation.RescaleIntercept = slope, 7
        frame.PixelValueTransformationSequence = Sequence([transformation])
        groups.append(frame)
    header = make_slice(NumberOfFrames=2, PerFrameFunctionalGroupsSequence=Sequence(groups))
    frames = decode("k", to_bytes(header, np.stack([RAMP, RAMP])))
    assert np.array_equal(frames, np.stack([RAMP + 7.0, RAMP * 3.0 + 7]))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"Rows": 65535, "Columns": 65535}, "DecompressionBomb"),
        ({"NumberOfFrames": 2_000_000_000}, "DecompressionBomb"),
        ({"Rows": 65}, "DecompressionBomb"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "NotGreyscale"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "NotGreyscale"),
        ({"RescaleSlope": 0}, "ImpossibleRescale"),
        ({"Rows": 0}, "NoPixels"),
    ],
)
def test_what_is_no_mr_image_is_refused_by_name(make_slice, to_bytes, changes, error):
    """Bombs, colour and nonsense are refused, and the error names the kind."""
    assert decode("k", to_bytes(make_slice(**changes), RAMP)) == Unreadable("k", error)


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless])
def test_a_bomb_costs_no_memory(make_slice, to_bytes, syntax):
    """A header of 65,535 x 65,535 pixels is refused within 5 MB, compressed or not."""
    file = to_bytes(make_slice(), RAMP)
    dataset = dcmread(BytesIO(compressed(file, syntax) if syntax else file))
    dataset.Rows = dataset.Columns = 65535
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    tracemalloc.start()
    result = decode("k", buffer.getvalue())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result == Unreadable("k", "DecompressionBomb")
    assert peak < 5e6


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless], ids=lambda u: u.keyword)
def test_a_codestream_of_another_size_than_its_header_is_refused(make_slice, to_bytes, syntax):
    """The codec never sees a stream whose own size is not the header's."""
    dataset = dcmread(BytesIO(compressed(to_bytes(make_slice(), RAMP), syntax)))
    dataset.Rows = 32
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    assert decode("k", buffer.getvalue()) == Unreadable("k", "DecompressionBomb")


def test_a_truncated_stream_announces_no_size():
    """Frame headers that end early, or were never one, are not an error."""
    for frame in (b"", b"\xff\xd8", b"\xff\xd8\xff\xc3\x00", b"\xff\x4f\xff\x51", b"RLE"):
        assert stream_size(frame) is None


def test_a_deflated_bomb_is_refused(make_slice, to_bytes, monkeypatch):
    """A deflated file that grows past the limit is refused while inflating, header or pixels."""
    monkeypatch.setattr("worker.intake.decoding.MAX_INFLATED_BYTES", 10_000)
    zeros = np.zeros((64, 1000), np.uint16)
    file = to_bytes(make_slice(Columns=1000), zeros, DeflatedExplicitVRLittleEndian)
    assert decode("k", file) == Unreadable("k", "DecompressionBomb")
    assert read_header("k", file) == Unreadable("k", "DecompressionBomb")


def test_cut_and_foreign_bytes_are_data_not_exceptions(make_slice, to_bytes):
    """A file cut anywhere, and bytes that never were DICOM, give `Unreadable`."""
    file = to_bytes(make_slice(), RAMP)
    for end in range(0, len(file) - 1, 97):
        assert isinstance(decode("k", file[:end]), Unreadable)
        assert isinstance(read_header("k", file[:end]), Instance | Unreadable)
    assert read_header("k", b"{}") == Unreadable("k", "InvalidDicomError")


def test_errors_never_quote_the_file(make_slice, to_bytes, caplog, recwarn, capfd):
    """A name in a malformed element reaches no result, log, warning or stream."""
    file = to_bytes(make_slice(PatientName="Secret^Name", SliceThickness="1234"), RAMP)
    broken = file.replace(b"1234", b"Secr")
    assert broken != file
    result = read_header("k", broken)
    assert isinstance(result, Instance)
    assert number(result.header, "SliceThickness") is None
    assert not caplog.records
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


def test_a_header_keeps_no_pixels_and_no_private_elements(make_slice, to_bytes):
    """What is kept in memory for a study of a thousand objects is only what routing needs."""
    header = make_slice()
    header.add_new(0x00091001, "LO", "private")
    result = read_header("k", to_bytes(header, RAMP))
    assert isinstance(result, Instance)
    assert "PixelData" not in result.header
    assert not any(element.tag.is_private for element in result.header)
