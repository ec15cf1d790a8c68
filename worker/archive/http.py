"""What the adapters of HTTP archives share: parallel requests, and errors of HTTP statuses."""

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

_BATCH: Final = 32
_BUSY: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
_REFUSED: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
_NOT_AUTHENTICATED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)

USER_AGENT: Final = f"orthanc-lumbar/{__version__}"
"""What archives and proxies log of requests."""


def fetch_parallel(
    keys: Sequence[str], get: Callable[[str], bytes | None]
) -> Iterator[tuple[str, bytes]]:
    """The result of `get` for each key, four at a time and in any order; None is left out."""
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="fetch") as pool:
        try:
            # In batches, so that at most one batch of files waits for a slow decoder.
            for start in range(0, len(keys), _BATCH):
                batch = {pool.submit(get, key): key for key in keys[start : start + _BATCH]}
                for done in as_completed(tuple(batch)):
                    # Removed from the batch, so that its bytes can be freed.
                    key, content = batch.pop(done), done.result()
                    if content is not None:
                        yield key, content
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def error_for_status(status: int, server: str, credentials: str) -> LumbarError | None:
    """The error that an HTTP status stands for; None for one that the server should not send.

    `server` is its name with its address; `credentials` says which settings hold them.
    """
    if status in _NOT_AUTHENTICATED:
        return BadSettings(f"{server}: authentication failed (HTTP {status}); {credentials}")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _BUSY:
        return ArchiveUnavailable(f"{server}: HTTP {status}")
    if status in _REFUSED:
        return BrokenStudy(f"{server} refused an object (HTTP {status}); see its log")
    return None


def unexpected_response(server: str, reason: str, variable: str) -> ArchiveUnavailable:
    """The error of a response that no server of this kind sends.

    It may concern one study, or come from a proxy: only if `check` receives one too is the URL
    wrong.
    """
    return ArchiveUnavailable(
        f"{server}: unexpected response ({reason}); if this repeats, check its log, proxies in "
        f"front of it, and {variable}"
    )


def parse_dataset(content: bytes, server: str) -> Dataset:
    """The object in these bytes; raise ArchiveUnavailable if they are no DICOM file."""
    dataset = guarded("", lambda: pydicom.dcmread(io.BytesIO(content)))
    if isinstance(dataset, Unreadable):
        raise ArchiveUnavailable(f"{server} returned a file that is not DICOM ({dataset.error})")
    return dataset
