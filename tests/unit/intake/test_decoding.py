"""The decoder boundary: modality units come out, and no exception for any bytes."""

import os
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from dicom_sr.attributes import number
from tests.support.encoders import HTJ2K_LOSSY, HTJ2K_PICTURE, by_dcmtk
from worker.domain.study import Instance, Unreadable
from worker.intake import gdcm_child
from worker.intake.codestreams import stream_size
from worker.intake.decoding import MAX_NESTING, decode, parse_in_place, read_header

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


@pytest.fixture
def jpeg_lossless(make_slice, to_bytes):
    """The ramp in JPEG Lossless (process 14, first-order), as most MR archives hold images."""
    return by_dcmtk(to_bytes(make_slice(), RAMP), "dcmcjpeg", "+e1")


def test_the_jpeg_codec_serves_several_threads(jpeg_lossless):
    """JPEG Lossless decodes exactly, from several threads at once."""
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


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("value", [b"Secr", b"nan "])
def test_a_malformed_rescale_does_not_count_as_absent(make_slice, to_bytes, keyword, value):
    """Pixels of an unknown scale are refused, also where only one of two values is malformed."""
    rescale = {"RescaleSlope": 1, "RescaleIntercept": 0, keyword: "1234"}
    file = to_bytes(make_slice(**rescale), RAMP)
    assert decode("k", file.replace(b"1234", value)) == Unreadable("k", "ImpossibleRescale")


def test_a_truncated_stream_announces_no_size():
    """Frame headers that end early, or were never one, are not an error."""
    for frame in (b"", b"\xff\xd8", b"\xff\xd8\xff\xc3\x00", b"\xff\x4f\xff\x51", b"RLE"):
        assert stream_size(frame) is None


def test_a_codestream_in_a_jp2_file_is_found():
    """JP2 boxes before a JPEG 2000 stream are stepped over; a box that never ends finds nothing."""
    boxes = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
    decoy = struct.pack(">I4s", 8 + len(HTJ2K_LOSSY), b"uuid") + HTJ2K_LOSSY.replace(
        b"\x20", b"\x7f"
    )
    stream = struct.pack(">I4s", 0, b"jp2c") + HTJ2K_LOSSY
    assert stream_size(HTJ2K_LOSSY) == HTJ2K_PICTURE.shape
    assert stream_size(boxes + decoy + stream) == HTJ2K_PICTURE.shape
    assert stream_size(boxes + decoy) is None
    assert stream_size(boxes + struct.pack(">I4s", 0, b"uuid") + stream) is None


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


def test_sequences_deeper_than_any_header_needs_are_cut_off():
    """Copying or writing them later would exhaust Python's stack, in the middle of a study."""
    header = Dataset()
    for _ in range(60):
        outer = Dataset()
        outer.ContentSequence = [header]
        header = outer
    assert sum(1 for _ in parse_in_place(header).iterall()) <= MAX_NESTING + 1
