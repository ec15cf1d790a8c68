"""Every transfer syntax that MR comes in: the picture comes out, or the syntax is named."""

import subprocess

import numpy as np
import pytest
from pydicom import uid

from tests.support.encoders import (
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSY,
    HTJ2K_PICTURE,
    by_dcmtk,
    compressed,
    holding,
)
from worker.domain.study import Unreadable
from worker.intake.decoding import decode

ACROSS, DOWN = np.meshgrid(np.arange(64), np.arange(48))
PICTURE = (50 * ACROSS + 19 * DOWN).astype(np.uint16)
"""Twelve bits from 0 (where dcmtk shifts lossy images), brighter to the right and below."""
PICTURE_8 = (PICTURE >> 4).astype(np.uint8)


def native(header, pixels, syntax, to_bytes):
    return to_bytes(header, pixels, syntax)


def big_endian(header, pixels, syntax, to_bytes):
    return to_bytes(header, pixels.astype(">u2"), syntax)


def by_pydicom(**options):
    def encode(header, pixels, syntax, to_bytes):
        return compressed(to_bytes(header, pixels), syntax, **options)

    return encode


def dcmcjpeg(*options):
    def encode(header, pixels, syntax, to_bytes):
        return by_dcmtk(to_bytes(header, pixels), "dcmcjpeg", *options)

    return encode


def openjph(stream):
    def encode(header, pixels, syntax, to_bytes):
        return holding(to_bytes(header, pixels), syntax, stream)

    return encode


SYNTAXES = [
    (uid.ImplicitVRLittleEndian, PICTURE, native, 0),
    (uid.ExplicitVRLittleEndian, PICTURE, native, 0),
    (uid.ExplicitVRBigEndian, PICTURE, big_endian, 0),
    (uid.DeflatedExplicitVRLittleEndian, PICTURE, native, 0),
    (uid.RLELossless, PICTURE, by_pydicom(), 0),
    (uid.JPEGBaseline8Bit, PICTURE_8, dcmcjpeg("+eb"), 3),
    (uid.JPEGExtended12Bit, PICTURE, dcmcjpeg("+ee", "+q", "98"), 20),
    (uid.JPEGExtended12Bit, PICTURE_8, dcmcjpeg("+ee"), 3),
    (uid.JPEGLossless, PICTURE, dcmcjpeg("+el"), 0),
    (uid.JPEGLosslessSV1, PICTURE, dcmcjpeg("+e1"), 0),
    (uid.JPEGLSLossless, PICTURE, by_pydicom(), 0),
    (uid.JPEGLSNearLossless, PICTURE, by_pydicom(jls_error=3), 3),
    (uid.JPEG2000Lossless, PICTURE, by_pydicom(), 0),
    (uid.JPEG2000, PICTURE, by_pydicom(j2k_cr=[8]), 20),
    (uid.HTJ2KLossless, HTJ2K_PICTURE, openjph(HTJ2K_LOSSLESS), 0),
    (uid.HTJ2KLosslessRPCL, HTJ2K_PICTURE, openjph(HTJ2K_LOSSLESS), 0),
    (uid.HTJ2K, HTJ2K_PICTURE, openjph(HTJ2K_LOSSY), 12),
]


@pytest.fixture
def encode(make_slice, to_bytes):
    """A picture as a DICOM file, by one encoder."""

    def run(pixels, encoder, syntax, **changes):
        bits = 8 if pixels.itemsize == 1 else 12
        defaults = {"BitsAllocated": 8 * pixels.itemsize, "BitsStored": bits, "HighBit": bits - 1}
        rows, columns = pixels.shape
        header = make_slice(Rows=rows, Columns=columns, **defaults | changes)
        return encoder(header, pixels, syntax, to_bytes)

    return run


@pytest.mark.parametrize(
    ("syntax", "picture", "encoder", "tolerance"),
    SYNTAXES,
    ids=[f"{syntax.keyword}-{picture.itemsize * 8}" for syntax, picture, *_ in SYNTAXES],
)
def test_every_transfer_syntax_gives_the_picture(encode, syntax, picture, encoder, tolerance):
    """Encoded and decoded, the picture is upright and the same, but for what lossy codecs lose."""
    frames = decode("k", encode(picture, encoder, syntax))
    assert not isinstance(frames, Unreadable), frames
    assert frames.dtype == np.float32
    assert frames.shape == (1, *picture.shape)
    expected = picture.astype(np.float32)
    assert np.abs(frames[0] - expected).max() <= tolerance
    for turned in (expected[::-1], expected[:, ::-1], expected[::-1, ::-1]):
        assert np.abs(frames[0] - turned).max() > 10 * tolerance


REFUSED = [
    uid.JPEG2000MCLossless,  # JPEG 2000 Part 2
    uid.JPEG2000MC,
    uid.MPEG2MPML,
    uid.MPEG4HP41,
    uid.HEVCMP51,
    uid.UID("1.2.840.10008.1.2.4.55"),  # JPEG full progression, retired
    uid.UID("1.2.840.10008.1.2.4.94"),  # JPIP: the pixels lie elsewhere
]


@pytest.mark.parametrize("syntax", REFUSED, ids=lambda syntax: syntax.keyword)
def test_a_syntax_without_a_decoder_is_refused_by_name(encode, syntax):
    """Video, multi-component JPEG 2000 and retired JPEG are refused, whatever the stream holds."""
    file = encode(HTJ2K_PICTURE, openjph(HTJ2K_LOSSLESS), syntax)
    assert syntax.keyword
    assert decode("k", file) == Unreadable("k", f"UnsupportedSyntax {syntax.keyword}")


def test_an_unknown_syntax_is_not_repeated(encode):
    """What stands in place of a transfer syntax may be any text: the refusal does not quote it."""
    file = encode(HTJ2K_PICTURE, openjph(HTJ2K_LOSSLESS), "1.2.3.4.19700101")
    assert decode("k", file) == Unreadable("k", "UnsupportedSyntax unknown")


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize(
    ("syntax", "encoder"),
    [
        (uid.ExplicitVRLittleEndian, native),
        (uid.RLELossless, by_pydicom()),
        (uid.JPEGLosslessSV1, dcmcjpeg("+e1")),
        (uid.JPEGLSLossless, by_pydicom()),
        (uid.JPEG2000Lossless, by_pydicom()),
    ],
    ids=lambda value: getattr(value, "keyword", ""),
)
def test_every_bit_depth_survives(encode, syntax, encoder, bits, signed):
    """From the lowest to the highest value of 8, 10, 12 and 16 bits, signed or not."""
    ramp = np.linspace(0, 2**bits - 1, PICTURE.size).round().reshape(PICTURE.shape)
    kind = f"{'i' if signed else 'u'}{1 if bits == 8 else 2}"
    stored = (ramp - (2 ** (bits - 1) if signed else 0)).astype(kind)
    file = encode(
        stored,
        encoder,
        syntax,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=int(signed),
    )
    frames = decode("k", file)
    assert not isinstance(frames, Unreadable), frames
    assert np.array_equal(frames[0], stored.astype(np.float32))


def test_bits_above_those_stored_are_no_pixels(encode):
    """Overlays in the unused bits are left out, and the sign is that of the stored bits."""
    dirty = PICTURE | 0xA000
    assert np.array_equal(
        decode("k", encode(dirty, native, uid.ExplicitVRLittleEndian))[0], PICTURE
    )
    signed = PICTURE.astype(np.int16) - 2048
    unextended = signed & 0x0FFF
    for syntax, encoder in ((uid.ExplicitVRLittleEndian, native), (uid.RLELossless, by_pydicom())):
        file = encode(unextended, encoder, syntax, PixelRepresentation=1)
        assert np.array_equal(decode("k", file)[0], signed)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless])
def test_contradicting_bits_are_settled_by_the_pixels(encode, syntax):
    """Values at the top of their cells are shifted down, values in the low bits stay."""
    encoder = native if syntax == uid.ExplicitVRLittleEndian else by_pydicom()
    shifted = encode(PICTURE << 4, encoder, syntax, HighBit=15)
    assert np.array_equal(decode("k", shifted)[0], PICTURE)
    for bits, high in ((16, 11), (12, 15), (10, 11), (12, 12)):
        small = PICTURE % 2 ** min(bits, high + 1)
        small[0, 0] = 1
        file = encode(small, encoder, syntax, BitsStored=bits, HighBit=high)
        assert np.array_equal(decode("k", file)[0], small), (bits, high)
    signed = PICTURE.astype(np.int16) - 2048
    for stored in (signed, signed & 0x0FFF):
        file = encode(stored, encoder, syntax, PixelRepresentation=1, BitsStored=16, HighBit=11)
        assert np.array_equal(decode("k", file)[0], signed)


def test_bits_that_fit_neither_reading_are_refused(encode):
    """Values beyond both sizes are no image of that header."""
    file = encode(PICTURE * 16 + 1, native, uid.ExplicitVRLittleEndian, BitsStored=12, HighBit=12)
    assert decode("k", file) == Unreadable("k", "ShiftedBits")


def test_signed_monochrome1_is_inverted_about_its_middle(encode):
    """The lowest of 12 signed bits, -2048, becomes the highest, 2047."""
    signed = PICTURE.astype(np.int16) - 2048
    file = encode(
        signed,
        native,
        uid.ExplicitVRLittleEndian,
        PixelRepresentation=1,
        PhotometricInterpretation="MONOCHROME1",
    )
    assert np.array_equal(decode("k", file)[0], -1.0 - signed)


def test_dcmtk_agrees_on_twelve_bits(encode, tmp_path):
    """JPEG Extended with 12 bits decodes to exactly what dcmtk's own decoder gives."""
    file = encode(PICTURE, dcmcjpeg("+ee", "+q", "60"), uid.JPEGExtended12Bit)
    (tmp_path / "lossy.dcm").write_bytes(file)
    plain = tmp_path / "plain.dcm"
    subprocess.run(["dcmdjpeg", tmp_path / "lossy.dcm", plain], check=True, capture_output=True)
    frames = decode("k", file)
    assert np.array_equal(frames, decode("k", plain.read_bytes()))
    assert not np.array_equal(frames[0], PICTURE)
