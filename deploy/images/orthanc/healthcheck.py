"""Whether Orthanc accepts the worker's credentials: healthcheck.py URL; exit code 0 if so."""

from __future__ import annotations

import base64
import os
import sys
import urllib.request

TIMEOUT_S = 5


def main(url: str) -> int:
    """Request Orthanc's version; return 1, and print the reason, if that fails."""
    user = f"{os.environ['LUMBAR_ORTHANC_USERNAME']}:{os.environ['LUMBAR_ORTHANC_PASSWORD']}"
    credentials = base64.b64encode(user.encode()).decode()
    request = urllib.request.Request(
        f"{url}/system", headers={"Authorization": f"Basic {credentials}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            return 0
    except OSError as error:
        print(f"Orthanc is not available: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
