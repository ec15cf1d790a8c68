"""Runs GDCM in a child process, because it aborts on some malformed JPEG streams.

`decode_in_child` is the side of the parent. Run as a module, this file is the child: it
reads DICOM files from the standard input and writes their stored pixels, until the input
ends. Each message is preceded by its length in 8 bytes; an empty response is a failure.
"""

from __future__ import annotations

import atexit
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import BytesIO
from typing import IO, Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import JPEGExtended12Bit

TIMEOUT_S: Final = 30.0
"""Time limit for one object."""

_LENGTH: Final = struct.Struct(">Q")
_lock = threading.Lock()
_children: dict[int, subprocess.Popen[bytes]] = {}


class CodecFailed(ValueError):
    """The codec refused the stream, crashed or hung."""


def decode_in_child(content: bytes) -> NDArray[Any]:
    """The stored pixels of a DICOM file in JPEG, shape (frames, rows, columns).

    One child serves all threads of a process and is replaced when it has ended. Raises
    CodecFailed.
    """
    with _lock:
        child = _child()
        assert child.stdin is not None
        assert child.stdout is not None
        watchdog = threading.Timer(TIMEOUT_S, child.kill)
        watchdog.start()
        try:
            _send(child.stdin, content)
            response = _receive(child.stdout)
        except OSError as error:
            raise CodecFailed from error
        finally:
            watchdog.cancel()
    if not response:
        raise CodecFailed
    pixels: NDArray[Any] = np.load(BytesIO(response), allow_pickle=False)
    return pixels


def _child() -> subprocess.Popen[bytes]:
    """The child of this process: a forked process must not share its parent's pipes."""
    child = _children.get(os.getpid())
    if child is None or child.poll() is not None:
        child = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        _children[os.getpid()] = child
        atexit.register(child.kill)
    return child


def _send(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(_LENGTH.pack(len(message)))
    pipe.write(message)
    pipe.flush()


def _receive(pipe: IO[bytes] | BinaryIO) -> bytes:
    """One message; empty where the other process has ended."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return b""
    (length,) = _LENGTH.unpack(head)
    message = pipe.read(length)
    return message if len(message) == length else b""


def _response(content: bytes) -> bytes:
    # A crash of GDCM ends this process; only exceptions are handled here.
    try:
        frames = np.stack(list(_frames(dcmread(BytesIO(content), force=True))))
    except (ValueError, RuntimeError, AttributeError, TypeError, KeyError, OSError):
        return b""
    buffer = BytesIO()
    np.save(buffer, frames, allow_pickle=False)
    return buffer.getvalue()


def _frames(dataset: Dataset) -> Iterator[NDArray[Any]]:
    if dataset.file_meta.TransferSyntaxUID == JPEGExtended12Bit and dataset.BitsStored > 8:
        # pydicom supports only 8 bits of this syntax by GDCM; GDCM itself decodes 12.
        count = int(dataset.get("NumberOfFrames") or 1)
        for stream in generate_frames(dataset.PixelData, number_of_frames=count):
            yield _extended(stream, dataset)
        return
    yield from iter_pixels(dataset, decoding_plugin="gdcm")


def _extended(stream: bytes, dataset: Dataset) -> NDArray[Any]:
    """One frame in JPEG Extended (process 4) with up to 16 bits, shape (rows, columns)."""
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(stream)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((dataset.Columns, dataset.Rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(
        gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    )
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    signed = dataset.PixelRepresentation
    image.SetPixelFormat(
        gdcm.PixelFormat(1, 16, dataset.BitsStored, dataset.BitsStored - 1, signed)
    )
    # GDCM returns char* as text; a size other than the header's fails in reshape.
    values = image.GetBuffer().encode("utf-8", "surrogateescape")
    return np.frombuffer(values, "<i2" if signed else "<u2").reshape(dataset.Rows, dataset.Columns)


def _serve() -> None:
    # GDCM prints to the standard output; responses go to a copy of it.
    responses = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    while content := _receive(sys.stdin.buffer):
        _send(responses, _response(content))


if __name__ == "__main__":
    _serve()
