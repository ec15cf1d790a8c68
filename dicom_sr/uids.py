"""Deterministic UIDs: the same study, images, models and pipeline give the same UIDs.

All UIDs lie under 2.25, the arc for UIDs derived from a UUID (DICOM PS3.5 B.2). The UUID
is version 8 of RFC 9562: 122 bits of a SHA-256 digest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from dicom_sr.findings import ImageReference, Target

_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)+")


def printable_uid(uid: object) -> str:
    """A UID from a header for messages; other text is hidden, because it may be a name."""
    text = str(uid)
    return text if len(text) <= 64 and _UID.fullmatch(text) else "(invalid UID)"


def derived_uid(*parts: str) -> str:
    """A 2.25 UID derived from the parts; ("a", "bc") and ("ab", "c") give different UIDs."""
    number = int.from_bytes(_digest(parts)[:16])
    number = number & ~(0xF << 76) | 8 << 76  # version 8: vendor-defined
    number = number & ~(0x3 << 62) | 2 << 62  # variant of RFC 9562
    return f"2.25.{number}"


def fingerprint(images: Iterable[ImageReference], decisions: Iterable[str] = ()) -> str:
    """SHA-256, in hexadecimal, of the set of (series, SOP instance) of the routed series.

    `decisions` are texts about the use of these images, such as roles. Order, repetition and
    frames do not matter: the fingerprint changes when an image is added or removed, or when a
    decision changes.
    """
    pairs = sorted({(i.series_instance_uid, i.sop_instance_uid) for i in images})
    uids = [uid for pair in pairs for uid in pair]
    return _digest([*uids, *sorted(set(decisions))]).hex()


def sr_instance_uid(
    study_uid: str, fingerprint: str, bundle_sha256: str, pipeline_version: int
) -> str:
    """The SOP Instance UID of the SR about these images, by this bundle and pipeline version."""
    parts = (study_uid, fingerprint, bundle_sha256, str(pipeline_version))
    return derived_uid("sr-instance", *parts)


def sr_series_uid(
    study_uid: str, fingerprint: str, bundle_sha256: str, pipeline_version: int
) -> str:
    """The Series Instance UID of that SR; every SR has a series of its own.

    Viewers show only the newest instance of an SR series and append their own SRs to it.
    """
    parts = (study_uid, fingerprint, bundle_sha256, str(pipeline_version))
    return derived_uid("sr-series", *parts)


def tracking_uid(sr_instance_uid: str, target: Target) -> str:
    """The Tracking Unique Identifier of one target in one SR.

    It differs between an SR and its revision, because a viewer that has restored the first
    would treat the points of the second as the same annotations and keep the old ones.
    """
    return derived_uid("tracking", sr_instance_uid, str(target))


def device_uid(bundle_sha256: str) -> str:
    """The Device UID of a model bundle."""
    return derived_uid("device", bundle_sha256)


def derived_instance_uid(series_uid: str, sop_uid: str) -> str:
    """The SOP Instance UID for an image whose own UID also occurs in another series."""
    return derived_uid("instance", series_uid, sop_uid)


def _digest(parts: Iterable[str]) -> bytes:
    """SHA-256 over the parts, each preceded by its length."""
    hashed = sha256()
    for part in parts:
        encoded = part.encode()
        hashed.update(len(encoded).to_bytes(8))
        hashed.update(encoded)
    return hashed.digest()


IMPLEMENTATION_CLASS_UID: Final = derived_uid("implementation")
CODING_SCHEME_UID: Final = derived_uid("coding-scheme", "99LUMBAR")
