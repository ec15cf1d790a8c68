"""Many small studies from one phantom: the same images with other UIDs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import httpx
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from worker.phantom import SMALL, make_phantom, write_phantom

SEED = 7


@dataclass(frozen=True, eq=False)
class Study:
    """A study to send: each image's SOP Instance UID and file, series after series."""

    uid: str
    images: tuple[tuple[str, bytes], ...]

    def halves(self) -> tuple[Study, Study]:
        """The images up to the middle, and the others."""
        middle = len(self.images) // 2
        return Study(self.uid, self.images[:middle]), Study(self.uid, self.images[middle:])

    def send(self, client: httpx.Client) -> str:
        """Store the images one by one; return Orthanc's id of the study."""
        for _, content in self.images:
            answer = client.post("/instances", content=content).raise_for_status().json()
        return str(answer["ParentStudy"])


def studies(folder: Path) -> Callable[[], Study]:
    """Returns a function that makes studies with new UIDs; makes the phantom once."""
    write_phantom(make_phantom(SEED, slices=SMALL), folder)
    images = [dcmread(path) for path in sorted(folder.rglob("*.dcm"))]
    renaming = threading.Lock()

    def new() -> Study:
        with renaming:
            return _renamed(images)

    return new


def _renamed(images: Sequence[Dataset]) -> Study:
    study, frame = generate_uid(), generate_uid()
    series: dict[str, str] = {}
    old = [str(image.SeriesInstanceUID) for image in images]
    return Study(
        study,
        tuple(
            _written(image, study, frame, series.setdefault(was, generate_uid()))
            for image, was in zip(images, old, strict=True)
        ),
    )


def _written(image: Dataset, study: str, frame: str, series: str) -> tuple[str, bytes]:
    # A shallow copy: the pixels are shared, and the original keeps its UIDs.
    copy = image.copy()
    copy.file_meta = image.file_meta.__class__(image.file_meta)
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    copy.StudyInstanceUID, copy.SeriesInstanceUID = study, series
    copy.FrameOfReferenceUID = frame
    buffer = BytesIO()
    copy.save_as(buffer, enforce_file_format=True)
    return str(copy.SOPInstanceUID), buffer.getvalue()
