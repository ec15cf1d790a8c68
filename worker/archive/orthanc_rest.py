"""Requests to Orthanc's REST API, with the errors of the error tree."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import httpx
from pyorthanc import Orthanc

from worker.archive.http import error_for_status, unexpected_response
from worker.errors import ArchiveUnavailable, BadSettings, LumbarError

_CREDENTIALS: Final = (
    "set LUMBAR_ORTHANC_USERNAME and LUMBAR_ORTHANC_PASSWORD to one of its RegisteredUsers"
)
_T = TypeVar("_T")


class OrthancRest:
    """A client of Orthanc whose requests raise errors of the error tree.

    One pooled client serves all threads. Create it after a fork, never before.
    """

    def __init__(self, client: Orthanc) -> None:
        client.return_raw_response = True
        self._client = client
        self.server = f"Orthanc at {client.url}"

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()

    def json(
        self,
        method: str,
        route: str,
        *,
        params: dict[str, str] | None = None,
        content: str | None = None,
        unexpected: Callable[[str], LumbarError] | None = None,
    ) -> Any:  # noqa: ANN401 - JSON has no narrower type
        """The decoded response, or None for HTTP 404."""
        unexpected = unexpected or self.unexpected
        response = self.send(method, route, params=params, content=content, unexpected=unexpected)
        if response is None:
            return None
        try:
            return response.json()
        except json.JSONDecodeError:
            raise unexpected("not JSON") from None
        except (RecursionError, ValueError) as error:
            raise unexpected(f"invalid JSON, {type(error).__name__}") from None

    def send(
        self,
        method: str,
        route: str,
        *,
        params: dict[str, str] | None = None,
        content: str | bytes | None = None,
        unexpected: Callable[[str], LumbarError] | None = None,
    ) -> httpx.Response | None:
        """The response, or None for HTTP 404.

        `unexpected` makes the error of a response that Orthanc does not send.
        """
        url = f"{self._client.url}{route}"
        try:
            response = self._client.request(method, url, params=params, content=content)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL):
            raise self.not_orthanc("not an HTTP URL") from None
        except httpx.TimeoutException as error:
            raise ArchiveUnavailable(
                f"{self.server}: no response within the timeout ({type(error).__name__}); "
                "if this repeats, raise LUMBAR_ORTHANC_TIMEOUT_S"
            ) from error
        except httpx.RequestError as error:
            raise ArchiveUnavailable(
                f"{self.server}: connection failed ({type(error).__name__})"
            ) from error
        if response.is_success:
            return cast("httpx.Response", response)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        known = error_for_status(response.status_code, self.server, _CREDENTIALS)
        reason = f"HTTP {response.status_code} to {method} {route}"
        raise known or (unexpected or self.unexpected)(reason)

    def parse(self, what: str, read: Callable[[Any], _T], content: object) -> _T:
        """What `read` returns for a response; raise `ArchiveUnavailable` if it is malformed."""
        try:
            return read(content)
        except (LookupError, TypeError, AttributeError, ValueError):
            raise self.unexpected(f"malformed {what}") from None

    def unexpected(self, reason: str) -> ArchiveUnavailable:
        """The error of a response that Orthanc does not send."""
        return unexpected_response(self.server, reason, "LUMBAR_ORTHANC_URL")

    def not_orthanc(self, reason: str) -> BadSettings:
        """The error of a URL that is not Orthanc's."""
        return BadSettings(
            "set LUMBAR_ORTHANC_URL to the root of Orthanc's REST API; "
            f"{self._client.url}: {reason}"
        )
