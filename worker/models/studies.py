"""The studies that a bundle was trained on, as hashes: they are evaluated out of fold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.models.card import StudiesEntry, checked_file

STUDIES: Final = "studies.txt"
_DIGITS: Final = 16


@dataclass(frozen=True)
class TrainingStudies:
    """The studies of the training data, as the first digits of their ids' sha256."""

    digests: frozenset[str]

    def __contains__(self, study_id: str) -> bool:
        return _digest(study_id) in self.digests

    def __len__(self) -> int:
        return len(self.digests)


def training_studies(study_ids: Iterable[str]) -> TrainingStudies:
    """The hashes of study ids."""
    return TrainingStudies(frozenset(map(_digest, study_ids)))


def write_studies(studies: TrainingStudies, folder: Path) -> StudiesEntry:
    """Write them into a bundle's folder; returns their entry in its card."""
    content = "".join(f"{digest}\n" for digest in sorted(studies.digests)).encode()
    (folder / STUDIES).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return StudiesEntry(file=STUDIES, sha256=digest, count=len(studies))


def read_studies(folder: Path, entry: StudiesEntry) -> TrainingStudies:
    """Read them back; raises `BundleMissing` or `BundleMismatch`."""
    path = checked_file(folder, entry.file, entry.sha256)
    return TrainingStudies(frozenset(path.read_text(encoding="ascii").split()))


def _digest(study_id: str) -> str:
    return hashlib.sha256(study_id.encode()).hexdigest()[:_DIGITS]
