"""Whether what the worker needs answers it: Redis, and the archive with the worker's user.

That the worker itself runs is seen by its container running: it ends when the worker does.
"""

from __future__ import annotations

import sys

import redis

from worker.errors import LumbarError
from worker.service.archives import open_archive
from worker.settings import Settings

TIMEOUT_S = 5.0


def main() -> int:
    """Ask both; 1, with the reason, where one does not answer."""
    try:
        settings = Settings.load()
        with open_archive(settings, timeout_s=TIMEOUT_S) as archive:
            archive.check()
        with redis.Redis.from_url(settings.redis_url, socket_timeout=TIMEOUT_S) as client:
            client.ping()
    except (LumbarError, redis.RedisError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
