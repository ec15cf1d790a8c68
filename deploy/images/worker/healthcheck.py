"""Health check of the worker: whether it is ready, and why not."""

from __future__ import annotations

import sys

import httpx

from worker.errors import BadSettings
from worker.settings import Settings

TIMEOUT_S = 5.0
ALL_ADDRESSES = ("0.0.0.0", "")


def main() -> int:
    """Request /ready; return 1, and print the reasons, if the worker is not ready."""
    try:
        settings = Settings.load()
        host = "localhost" if settings.health_host in ALL_ADDRESSES else settings.health_host
        response = httpx.get(f"http://{host}:{settings.health_port}/ready", timeout=TIMEOUT_S)
        reasons = response.json()["reasons"]
    except (BadSettings, httpx.HTTPError) as error:
        reasons = [f"{type(error).__name__}: {error}"]
    except (ValueError, LookupError):
        reasons = ["another program uses LUMBAR_HEALTH_PORT"]
    print(*reasons, sep="\n", end="", file=sys.stderr)
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
