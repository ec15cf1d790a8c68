"""Random generators: an independent one for each purpose.

Lesions must not change the anatomy, and a second series must not change the noise of the
first.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """A generator that depends only on the seed and the purpose."""
    digest = hashlib.sha256("/".join(map(str, (seed, *purpose))).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def derived_uid(*parts: str | int) -> str:
    """A UID of the form 2.25.<number>, the same for the same parts (DICOM PS3.5 B.2)."""
    digest = bytearray(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50  # the bits of an RFC 9562 UUID of version 5
    digest[8] = digest[8] & 0x3F | 0x80
    return f"2.25.{int.from_bytes(digest, 'big')}"
