"""What can go wrong with a study on its way: each mutation is a value that prints as code."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from tests.support.fuzzing.values import VALUES


@dataclass
class Files:
    """A study while it is broken: files by series, and what lies beside them."""

    series: list[list[bytes]]
    beside: dict[str, bytes] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write everything below a new folder."""
        for number, files in enumerate(self.series):
            place = folder / str(number)
            place.mkdir(parents=True)
            for index, content in enumerate(files):
                (place / f"{index}.dcm").write_bytes(content)
        for name, content in self.beside.items():
            (folder / name).write_bytes(content)
        for name in self.odd:
            ODD[name](folder)


ODD = {
    "link to itself": lambda folder: (folder / "self.dcm").symlink_to("self.dcm"),
    "link to its folder": lambda folder: (folder / "up").symlink_to("."),
    "link to nothing": lambda folder: (folder / "gone.dcm").symlink_to("nowhere"),
    "folder named .dcm": lambda folder: (folder / "folder.dcm").mkdir(),
    "pipe named .dcm": lambda folder: os.mkfifo(folder / "pipe.dcm"),
    "pipe": lambda folder: os.mkfifo(folder / "pipe"),
    "name that is no text": lambda folder: Path(os.fsdecode(bytes(folder) + b"/\xff.dcm")).touch(),
}
"""What a folder can hold that is no plain file, each put there by a function."""


@dataclass(frozen=True)
class Where:
    """One file, or all of a series or of the study; numbers count round and round."""

    series: int | None = None
    image: int | None = None

    def among(self, files: Files) -> list[tuple[int, int]]:
        """(series, image) of each file meant."""
        every = range(len(files.series))
        chosen = every if self.series is None else [self.series % len(every)]
        places = [(s, n) for s in chosen for n in range(len(files.series[s]))]
        if self.image is None or not places:
            return places
        return [places[self.image % len(places)]]


@dataclass(frozen=True)
class Put:
    """Give an element these bytes, and in explicit VR this VR.

    `path` leads to the item: keywords of sequences and numbers of items in turn.
    """

    where: Where
    keyword: str
    vr: str
    value: str
    path: tuple[str | int, ...] = ()

    def apply(self, files: Files) -> None:
        """Break the files."""
        tag, value = Tag(tag_for_keyword(self.keyword) or 0), VALUES[self.value]
        raw = RawDataElement(tag, self.vr, len(value), value, 0, False, True, True)

        def put(dataset: Dataset) -> None:
            follow(dataset, self.path)[tag] = raw

        edit(files, self.where, put)


@dataclass(frozen=True)
class Drop:
    """Leave an element out."""

    where: Where
    keyword: str
    path: tuple[str | int, ...] = ()

    def apply(self, files: Files) -> None:
        """Break the files."""

        def drop(dataset: Dataset) -> None:
            del follow(dataset, self.path)[self.keyword]

        edit(files, self.where, drop)


@dataclass(frozen=True)
class Take:
    """Give an element the value that it has in another file."""

    where: Where
    keyword: str
    source: Where

    def apply(self, files: Files) -> None:
        """Break the files."""
        first = self.source.among(files)[:1]
        read = parsed(files.series[first[0][0]][first[0][1]]) if first else None
        if read is None or self.keyword not in read[0]:
            return
        raw = read[0].get_item(self.keyword)

        def take(dataset: Dataset) -> None:
            dataset[raw.tag] = raw

        edit(files, self.where, take)


@dataclass(frozen=True)
class Meta:
    """Name another transfer syntax than the file's, or None: no meta information at all."""

    where: Where
    syntax: str | None

    def apply(self, files: Files) -> None:
        """Break the files."""
        for s, n in self.where.among(files):
            read = parsed(files.series[s][n])
            if read is None:
                continue
            dataset, head = read
            body = files.series[s][n][len(head) :]
            if self.syntax is None:
                files.series[s][n] = head[:132] + body
                continue
            dataset.file_meta.TransferSyntaxUID = UID(self.syntax)
            buffer = DicomBytesIO()
            write_file_meta_info(buffer, dataset.file_meta, enforce_standard=False)
            files.series[s][n] = head[:132] + buffer.getvalue() + body


@dataclass(frozen=True)
class Unwrap:
    """Leave out the preamble and the prefix."""

    where: Where

    def apply(self, files: Files) -> None:
        """Break the files."""
        for s, n in self.where.among(files):
            files.series[s][n] = files.series[s][n][132:]


@dataclass(frozen=True)
class Merge:
    """Put a whole series under the Series Instance UID of another."""

    series: int
    into: int

    def apply(self, files: Files) -> None:
        """Break the files."""
        for image in range(len(files.series[self.series % len(files.series)])):
            where = Where(self.series, image)
            Take(where, "SeriesInstanceUID", Where(self.into, 0)).apply(files)


@dataclass(frozen=True)
class Halve:
    """Make an image of half the rows, pixels included."""

    where: Where

    def apply(self, files: Files) -> None:
        """Break the files."""

        def halve(dataset: Dataset) -> None:
            dataset.Rows //= 2
            dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]

        edit(files, self.where, halve)


@dataclass(frozen=True)
class Copy:
    """Store files once more, in their own series or another."""

    where: Where
    series: int

    def apply(self, files: Files) -> None:
        """Break the files."""
        target = files.series[self.series % len(files.series)]
        target += [files.series[s][n] for s, n in self.where.among(files)]


@dataclass(frozen=True)
class Remove:
    """Lose files."""

    where: Where

    def apply(self, files: Files) -> None:
        """Break the files."""
        for s, n in reversed(self.where.among(files)):
            del files.series[s][n]


@dataclass(frozen=True)
class Bytes:
    """At a place (in millionths of the file, from `start`) cut bytes out and put others there.

    `cut` None cuts everything behind: a truncated file.
    """

    where: Where
    place: int
    cut: int | None
    put: bytes = b""
    start: int = 0

    def apply(self, files: Files) -> None:
        """Break the files."""
        for s, n in self.where.among(files):
            content = files.series[s][n]
            at = self.start + max(0, len(content) - self.start) * self.place // 1_000_000
            rest = b"" if self.cut is None else content[at + self.cut :]
            files.series[s][n] = content[:at] + self.put + rest


@dataclass(frozen=True)
class Flip:
    """Flip one bit, at a place in millionths of the file."""

    where: Where
    place: int
    bit: int

    def apply(self, files: Files) -> None:
        """Break the files."""
        for s, n in self.where.among(files):
            content = bytearray(files.series[s][n])
            if content:
                content[len(content) * self.place // 1_000_000 % len(content)] ^= 1 << self.bit
            files.series[s][n] = bytes(content)


@dataclass(frozen=True)
class Again:
    """Write an element a second time behind itself, with other bytes (explicit VR, short form)."""

    where: Where
    keyword: str
    vr: str
    value: str

    def apply(self, files: Files) -> None:
        """Break the files."""
        tag = Tag(tag_for_keyword(self.keyword) or 0)
        key = tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little")
        value = VALUES[self.value][:65534]
        made = key + self.vr.encode() + len(value).to_bytes(2, "little") + value
        for s, n in self.where.among(files):
            content = files.series[s][n]
            at = content.find(key)
            if at >= 0:
                end = at + 8 + int.from_bytes(content[at + 6 : at + 8], "little")
                files.series[s][n] = content[:end] + made + content[end:]


@dataclass(frozen=True)
class Beside:
    """Put a further file into the folder."""

    name: str
    content: bytes

    def apply(self, files: Files) -> None:
        """Break the study."""
        files.beside[self.name] = self.content


@dataclass(frozen=True)
class Odd:
    """Put something into the folder that is no plain file."""

    name: str

    def apply(self, files: Files) -> None:
        """Break the study."""
        if self.name not in files.odd:
            files.odd.append(self.name)


Mutation = (
    Put
    | Drop
    | Take
    | Meta
    | Unwrap
    | Merge
    | Halve
    | Copy
    | Remove
    | Bytes
    | Flip
    | Again
    | Beside
    | Odd
)


def follow(dataset: Dataset, path: tuple[str | int, ...]) -> Dataset:
    """The item that a path leads to; raise where there is none."""
    found = dataset
    for step in path:
        found = found[step % len(found)] if isinstance(step, int) else found[step].value
    return found


def parsed(content: bytes) -> tuple[Dataset, bytes] | None:
    """A file's data set and the bytes before it; None where earlier mutations left neither."""
    try:
        file = BytesIO(content)
        read_preamble(file, force=False)
        _read_file_meta_info(file)
        return dcmread(BytesIO(content)), content[: file.send()]
    except Exception:  # noqa: BLE001 - what is broken already cannot be broken this way
        return None


def edit(files: Files, where: Where, change) -> None:
    """Change the data sets of files and write them as they were, file meta and all."""
    for s, n in where.among(files):
        read = parsed(files.series[s][n])
        if read is None:
            continue
        dataset, head = read
        try:
            change(dataset)
            files.series[s][n] = head + encoded(dataset)
        except Exception:  # noqa: BLE001 - a mutation that this file does not allow
            continue


def encoded(dataset: Dataset) -> bytes:
    """A data set in the encoding that it was read in."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = dataset.original_encoding
    write_dataset(buffer, dataset)
    body = buffer.getvalue()
    if dataset.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = deflater.compress(body) + deflater.flush()
    return body
