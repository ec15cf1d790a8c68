"""The HTTP session of a DICOMweb server: credentials, TLS, no redirects."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth

from worker.archive.http import USER_AGENT
from worker.errors import BadSettings

_JSON: Final = "application/dicom+json"


@dataclass(frozen=True)
class Access:
    """Credentials for a server: user and password, or a bearer token, and TLS files in PEM.

    A token in a file is read for every request, since tokens are rotated. Without `ca_file` the
    server's certificate is verified with the public CAs.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    ca_file: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None


class Session(requests.Session):
    """A session with these credentials, and with corrections of dicomweb-client."""

    def __init__(self, access: Access, *, connections: int) -> None:
        super().__init__()
        self.auth = _auth(access)
        self.verify = str(access.ca_file) if access.ca_file else True
        if access.client_certificate:
            certificate, key = access.client_certificate, access.client_key
            self.cert = (str(certificate), str(key)) if key else str(certificate)
        # No redirects: credentials are sent only to the configured URL.
        self.max_redirects = 0
        # Servers that compress DICOM files take several times as long.
        self.headers.update(
            {"Accept": _JSON, "Accept-Encoding": "identity", "User-Agent": USER_AGENT}
        )
        for scheme in ("http://", "https://"):
            self.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=connections))

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override] # noqa: ANN401 - as in requests
        """Send one request; return the response, whatever its status."""
        # dicomweb-client's own Host lacks the port (RFC 9110 7.2).
        headers = {k: v for k, v in (options.pop("headers", None) or {}).items() if k != "Host"}
        # Passed here, the CA file is not overridden by REQUESTS_CA_BUNDLE.
        options["verify"] = self.verify
        response = super().request(method, url, headers=headers, **options)
        if response.headers.get("Content-Type", "").startswith(_JSON):
            # dicomweb-client ignores a report of failures whose media type has parameters.
            response.headers["Content-Type"] = _JSON
        return response


def _auth(access: Access) -> AuthBase | None:
    if access.token or access.token_file:
        return _Bearer(access)
    if access.username:
        # In bytes, because requests would write text in Latin-1 (RFC 7617 2.1 allows UTF-8).
        return HTTPBasicAuth(access.username.encode(), (access.password or "").encode())
    return None


class _Bearer(AuthBase):
    """RFC 6750: the token in a header."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token()}"
        return request

    def _token(self) -> str:
        variable, token = "LUMBAR_DICOMWEB_TOKEN", self._access.token or ""
        if self._access.token_file:
            variable = "LUMBAR_DICOMWEB_TOKEN_FILE"
            try:
                token = self._access.token_file.read_text(encoding="ascii")
            except (OSError, UnicodeDecodeError):
                token = ""
        token = token.strip()
        # Checked here, because requests quotes the header that it refuses.
        if not (token.isascii() and token.isprintable() and token and " " not in token):
            raise BadSettings(f"{variable}: not a bearer token; it must be one line of ASCII")
        return token
