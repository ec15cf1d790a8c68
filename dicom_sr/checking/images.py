"""Rules for the images that an SR refers to, and for their study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydicom import Dataset

from dicom_sr.attributes import numbers, text
from dicom_sr.checking.subject import Problem, Reference, Subject, error, warning

_IDENTITY: Final = ("PatientID", "PatientName", "AccessionNumber")


def images_are_evidence(sr: Subject) -> Iterator[Problem]:
    """Every image is listed as evidence in exactly one series."""
    for image in sr.references:
        series = sr.evidence.get(image.sop_instance_uid, ())
        if len(series) != 1:
            how = "in more than one series" if series else "nowhere"
            yield error(image.where, f"its image is listed as evidence {how}")


def belongs_to_the_study(sr: Subject) -> Iterator[Problem]:
    """Study, patient and accession number are those of the images."""
    if sr.images and not sr.headers:
        yield error("study", "no given image belongs to the study of this document")
        return
    headers = [header for with_uid in sr.headers.values() for header in with_uid]
    for keyword in _IDENTITY:
        known = {_comparable(header, keyword) for header in headers} - {""}
        if headers and _comparable(sr.dataset, keyword) not in (known or {""}):
            yield error(
                "study" if keyword == "AccessionNumber" else "patient",
                f"{keyword} differs from the images: viewers show another patient",
            )


def images_exist(sr: Subject) -> Iterator[Problem]:
    """Every image is among those given, with the SOP Class of the reference."""
    if not sr.headers:
        return
    for image in sr.references:
        header = _header(sr, image)
        if header is None:
            yield error(image.where, "its image is not among those given")
        elif text(header, "SOPClassUID") not in ("", image.sop_class_uid):
            yield error(image.where, "its image has another SOP Class than the reference")


def frames_are_named(sr: Subject) -> Iterator[Problem]:
    """References to multi-frame images name an existing frame."""
    for image in sr.references:
        header = _header(sr, image)
        if header is None:
            continue
        count = next(iter(numbers(header, "NumberOfFrames")), 1)
        if not all(1 <= frame <= count for frame in image.frames):
            yield error(image.where, f"the frame does not exist: its image has {count:g}")
        if count > 1 and not image.frames:
            yield (warning if image.point is None else error)(
                image.where, f"names none of the {count:g} frames of its image"
            )


def points_lie_inside(sr: Subject) -> Iterator[Problem]:
    """Points lie inside their image, edges included (PS3.3 C.18.6.1.2)."""
    for image in sr.references:
        header = _header(sr, image)
        if header is None or image.point is None:
            continue
        data = numbers(image.point.dataset, "GraphicData")
        for keyword, coordinates in (("Columns", data[::2]), ("Rows", data[1::2])):
            for size in numbers(header, keyword):
                if any(coordinate > size for coordinate in coordinates):
                    yield error(
                        sr.where(image.point), f"lies outside of its image of {size:g} {keyword}"
                    )


def _header(sr: Subject, image: Reference) -> Dataset | None:
    """The header of the referenced image; None where it was not given."""
    headers = sr.headers.get(image.sop_instance_uid, ())
    series = sr.evidence.get(image.sop_instance_uid, ())
    listed = [header for header in headers if text(header, "SeriesInstanceUID") in series]
    return next(iter(listed or headers), None)


def _comparable(dataset: Dataset, keyword: str) -> str:
    """A value without trailing empty components of a person name."""
    return "=".join(part.rstrip("^ ") for part in text(dataset, keyword).split("=")).rstrip("=")
