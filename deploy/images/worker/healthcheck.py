"""Asks the worker itself whether it is ready, and says why it is not."""

from __future__ import annotations

import sys

import httpx

from worker.errors import BadSettings
from worker.settings import Settings

TIMEOUT_S = 5.0
EVERYWHERE = ("0.0.0.0", "")


def main() -> int:
    """Ask; 1, with the reasons, where the answer is not yes."""
    try:
        settings = Settings.load()
        host = "localhost" if settings.health_host in EVERYWHERE else settings.health_host
        answer = httpx.get(f"http://{host}:{settings.health_port}/ready", timeout=TIMEOUT_S)
        reasons = answer.json()["reasons"]
    except (BadSettings, httpx.HTTPError) as error:
        reasons = [f"{type(error).__name__}: {error}"]
    except (ValueError, LookupError):
        reasons = ["another program answers at LUMBAR_HEALTH_PORT"]
    print(*reasons, sep="\n", end="", file=sys.stderr)
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
