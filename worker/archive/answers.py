"""What adapters of HTTP archives share: parallel requests, and what a status stands for."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from http import HTTPStatus
from typing import Final

import pydicom
from pydicom import Dataset

from worker import __version__
from worker.domain.study import Unreadable
from worker.errors import ArchiveUnavailable, BadSettings, BrokenStudy, LumbarError
from worker.intake.decoding import guarded

PARALLEL: Final = 4
"""Objects fetched at the same time."""

_LOT: Final = 32
_BUSY: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
_REFUSED: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
_NO_ENTRY: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)

USER_AGENT: Final = f"orthanc-lumbar/{__version__}"
"""What archives and proxies log of our requests; nothing of a patient, whose study is the path."""


def in_parallel(
    keys: Sequence[str], get: Callable[[str], bytes | None]
) -> Iterator[tuple[str, bytes]]:
    """What `get` gives for each key, four at a time and in any order; None is left out."""
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="fetch") as pool:
        try:
            # In lots, so that no more than one lot of files waits for a slow decoder.
            for start in range(0, len(keys), _LOT):
                lot = {pool.submit(get, key): key for key in keys[start : start + _LOT]}
                for done in as_completed(tuple(lot)):
                    # Out of the lot, so that its bytes are let go of.
                    key, content = lot.pop(done), done.result()
                    if content is not None:
                        yield key, content
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def error_of(status: int, server: str, entry: str) -> LumbarError | None:
    """The error that an HTTP status stands for; None where only something else gives it.

    `server` names it with its address; `entry` says what to set where it lets nobody in.
    """
    if status in _NO_ENTRY:
        return BadSettings(f"{server} does not let us in (HTTP {status}): {entry}")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _BUSY:
        return ArchiveUnavailable(f"{server} answers HTTP {status}")
    if status in _REFUSED:
        return BrokenStudy(f"{server} refuses an object (HTTP {status}); its log says why")
    return None


def odd_answer(server: str, why: str, variable: str) -> ArchiveUnavailable:
    """The error of an answer that none of its kind gives, as far as one request goes.

    It may be about one study, or a proxy's passing page: only where `check` meets it too, the
    address is wrong.
    """
    return ArchiveUnavailable(
        f"{server} gives an answer that is of no use: {why}; if this repeats, look at its "
        f"log, at what stands before it, and at {variable}"
    )


def dataset_of(content: bytes, server: str) -> Dataset:
    """The object in these bytes; raise ArchiveUnavailable where they are none."""
    found = guarded("", lambda: pydicom.dcmread(io.BytesIO(content)))
    if isinstance(found, Unreadable):
        raise ArchiveUnavailable(f"{server} gave back a file that is not DICOM ({found.error})")
    return found
