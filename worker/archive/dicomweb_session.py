"""How a DICOMweb server is reached: credentials, TLS, and no redirects."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth

from worker.archive.answers import USER_AGENT
from worker.errors import BadSettings

_JSON: Final = "application/dicom+json"


@dataclass(frozen=True)
class Access:
    """What a server asks for: a user with a password, or a bearer token, and TLS files in PEM.

    A token in a file is read anew for each request, since tokens are rotated. Without
    `ca_file` the server's certificate is checked against the public authorities.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    ca_file: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None


class Session(requests.Session):
    """A session with what `Access` holds, and with what dicomweb-client gets wrong mended."""

    def __init__(self, access: Access, *, connections: int) -> None:
        super().__init__()
        self.auth = _auth(access)
        self.verify = str(access.ca_file) if access.ca_file else True
        if access.client_certificate:
            certificate, key = access.client_certificate, access.client_key
            self.cert = (str(certificate), str(key)) if key else str(certificate)
        # Nothing is followed: credentials go nowhere but to the address that was set.
        self.max_redirects = 0
        # Servers that compress DICOM files take several times as long.
        self.headers.update(
            {"Accept": _JSON, "Accept-Encoding": "identity", "User-Agent": USER_AGENT}
        )
        for scheme in ("http://", "https://"):
            self.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=connections))

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override] # noqa: ANN401 - as in requests
        """One request, whatever it is answered."""
        # dicomweb-client's own Host lacks the port (RFC 9110 7.2).
        headers = {k: v for k, v in (options.pop("headers", None) or {}).items() if k != "Host"}
        # Given here, the CA file is not overruled by REQUESTS_CA_BUNDLE.
        options["verify"] = self.verify
        response = super().request(method, url, headers=headers, **options)
        if response.headers.get("Content-Type", "").startswith(_JSON):
            # dicomweb-client overlooks a report of failures whose type has parameters.
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
            raise BadSettings(f"{variable} gives no bearer token: one line of ASCII is needed")
        return token
