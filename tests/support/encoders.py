"""DICOM files in every transfer syntax for which an encoder is at hand."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate

from tests.support.needs import cannot_run

_SEQUENCE = np.array([5 * i + 400 * (i < 90) for i in range(23 * 16 + 32)], np.uint16)
HTJ2K_PICTURE = np.stack([_SEQUENCE[16 * row : 16 * row + 32] for row in range(24)])
"""What both streams below show, shape (24, 32), 12 bits."""

HTJ2K_LOSSLESS = b64decode(
    "/0//UQApQAAAAAAgAAAAGAAAAAAAAAAAAAAAIAAAABgAAAAAAAAAAAABCwEB/1AACAACAAAAB/9SAAwAAgABAAIEBEAB"
    "/1wACiBweHh4cHB4/2QAFwABT3BlbkpQSCBWZXIgMC4xNS4wLv+QAAoAAAAAATIAAf+TwAF6iPf80mbO0SkbdMRilfBQ"
    "+StT9WqUrOJd7Q9f9goFe0G+DvCs75fq9n96/HjC/t+SXbdfr63WYVv11ULdtEsP1RjOgQNwGu671lyEAMYhADG/AMAA"
    "tiAAXVQACuAaVbG0tiiUQUWhEP0cFPMjQuQCFLm2XAAxXS++YrZ4lmGCbXZhgtkLzJqZmZmZmZn9BjA9+xjA9lgAQgbC"
    "CEAWsQGkEkaX614AAvZQC9J5AMABbMABeiwACtARIRarxAAAAAD+9L/09PT04cTvwR2yX38AMbgcHR07duxY/srHjx8/"
    "fvwYHMPT4/F4PB6Px+PxeDwez/R/oAQgPfsQgPfsQgPfsQgPZdPY4Nd4xgb94xgb6whAp1MCR8fj9n/BD+GJxA96AP/Z"
)
HTJ2K_LOSSY = b64decode(
    "/0//UQApQAAAAAAgAAAAGAAAAAAAAAAAAAAAIAAAABgAAAAAAAAAAAABCwEB/1AACAACAAAAI/9SAAwAAAABAAIEBEAA"
    "/1wAESJn5lg1WDVYeFAaUBpfv/9kABcAAU9wZW5KUEggVmVyIDAuMTUuMC7/kAAKAAAAAAEdAAH/k8AF6WA/TvXFRWWY"
    "03t7bTdWcVW91tRdrR12w7ueUNYEYQWwVPs3ZR9S8fvUfvBs94427mPP7rXrWadONelnn5UDcBruu9ZcYwDGGMAxvwDA"
    "C0IAXYQAqnUgOg4g/HgpxTzLH5I/2gDFMTiCBSutUhvBzWwYhkEUBAEW48K4GItxMRbjYizGACECnTCECm7a1ncmwuQW"
    "sQEsuv28ACTpY3cAwBXQBelwArSc2Qf89f9Bh7Gj+Mt6AK7d3VUlSkCBDkoBCiiQgINPpqmmmmqmmSabA0A8PI7H8Tge"
    "x+N4HI/jc/QCSnTJKdMkp0ySm6AA2NgguuBEuFyXZyQUs3rayhayAuDZ8fH/QKc5/joeygD/2Q=="
)
"""Written by OpenJPH 0.15 (the encoder in OHIF's WebAssembly), which alone writes HTJ2K here;
its own decoder and OpenJPEG agree on what they show."""


def to_file(dataset: Dataset) -> bytes:
    """A data set as a DICOM file."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def compressed(file: bytes, syntax: str, **options: Any) -> bytes:
    """An uncompressed file in RLE, JPEG-LS or JPEG 2000, by pydicom's encoders."""
    dataset = dcmread(BytesIO(file))
    dataset.compress(syntax, **options)
    return to_file(dataset)


def by_dcmtk(file: bytes, *command: str) -> bytes:
    """An uncompressed file in a JPEG, by dcmtk's `dcmcjpeg` with its options."""
    if shutil.which(command[0]) is None:
        cannot_run(f"{command[0]} is not installed (Debian package dcmtk)")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.dcm"), Path(folder, "out.dcm")
        source.write_bytes(file)
        subprocess.run([*command, source, target], check=True, capture_output=True)
        return target.read_bytes()


def holding(file: bytes, syntax: str, stream: bytes) -> bytes:
    """A file that says it is in a transfer syntax and holds one encapsulated stream."""
    dataset = dcmread(BytesIO(file))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].is_undefined_length = True
    return to_file(dataset)
