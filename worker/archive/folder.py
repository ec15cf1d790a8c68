"""Studies in folders: an archive without a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from pydicom import Dataset, dcmread

from worker.domain.study import Instance, Unreadable
from worker.errors import ArchiveUnavailable, StudyGone
from worker.intake.decoding import guarded, read_header
from worker.intake.files import dicom_files

_READERS: Final = 4


class FolderArchive:
    """An `Archive` whose study is the path of a folder (read with its subfolders) or a file.

    A key is the path of a file. A file that looks like DICOM and is not becomes `Unreadable`;
    other files are ignored. Objects are stored in `output` by their SOP Instance UID; without
    it, storing raises ArchiveUnavailable.
    """

    def __init__(self, output: Path | None = None) -> None:
        self._output = output

    def headers(self, study: str) -> Sequence[Instance | Unreadable]:
        """The headers of every DICOM file; raise StudyGone if the path does not exist."""
        place = Path(study)
        if not place.exists():
            raise StudyGone(f"there is no file or folder {study}")
        files = dicom_files(place)
        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(lambda path: read_header(str(path), path), files))

    def fetch(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The files with these paths; one that is missing or cannot be opened is left out."""
        for key in keys:
            try:
                yield key, Path(key).read_bytes()
            except OSError:
                continue

    def store(self, dataset: Dataset) -> None:
        """Write one object, completely or not at all."""
        path = self._path(str(dataset.SOPInstanceUID))
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part")
        dataset.save_as(temporary, enforce_file_format=True)
        temporary.replace(path)

    def stored(self, study: str, sop_instance_uid: str) -> Dataset | None:
        """The object in the output folder; None if it is missing or damaged.

        `study` is not used: objects are found by their UID alone.
        """
        del study
        path = self._path(sop_instance_uid)
        if not path.is_file():
            return None
        dataset = guarded(str(path), lambda: dcmread(path))
        return None if isinstance(dataset, Unreadable) else dataset

    def _path(self, sop_instance_uid: str) -> Path:
        if self._output is None:
            raise ArchiveUnavailable("the folder archive has no output folder")
        # A UID is digits and dots; anything else must not become a path.
        safe = "".join(c for c in sop_instance_uid if c.isdigit() or c == ".")
        return self._output / f"{safe}.dcm"
