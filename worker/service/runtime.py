"""What one child process holds: the bundle, the archive, and a way to stop the worker.

The parent imports this module and must stay without torch: torch loaded before a fork can
hang the child. So whatever needs torch is imported where a child starts.
"""

from __future__ import annotations

import mmap
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import redis
import structlog

from worker.errors import ArchiveUnavailable, Misconfigured
from worker.service.archives import open_archive
from worker.service.deliveries import Deliveries
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.service.grading import Outcome

_NOTE_BYTES: Final = 2048
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class Runtime:
    """What a task needs, made once in each child: how to grade a study, and the counters."""

    grade: GradeStudy
    deliveries: Deliveries


class GradeStudy(Protocol):
    """`grading.grade_and_store` with its archive and bundle given."""

    def __call__(self, study: str, *, observe: Callable[[str], None]) -> Outcome:
        """Grade one study of the archive."""


def start_runtime(settings: Settings) -> Runtime:
    """Load rules and bundle, look at the archive; raise Misconfigured where one cannot work.

    An archive that is away is no reason to stop: studies wait for it.
    """
    from worker.bundles.loading import load_bundle
    from worker.intake.site import load_site_rules
    from worker.service.grading import grade_and_store

    site = load_site_rules(Path(settings.site_rules)) if settings.site_rules else ()
    bundle = load_bundle(Path(settings.bundle) if settings.bundle else None, settings.device)
    archive = open_archive(settings)
    try:
        found = archive.check()
    except ArchiveUnavailable as error:
        _log.warning("archive away", reason=str(error))
    else:
        _log.info("archive found", archive=found)
    client = redis.Redis.from_url(settings.redis_url, socket_timeout=5, socket_connect_timeout=5)
    _log.info("bundle loaded", bundle=bundle.identity.name, version=bundle.identity.version)
    return Runtime(
        grade=partial(grade_and_store, archive=archive, bundle=bundle, site=site),
        deliveries=Deliveries(client, most=settings.max_deliveries),
    )


class StopNote:
    """A note that a child leaves to its parent: stop, and say why.

    Made before the fork; the memory is shared.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _NOTE_BYTES)
        self._parent = os.getpid()

    def stop(self, error: Misconfigured) -> None:
        """Leave the note and ask the parent to finish what runs and stop."""
        text = f"{type(error).__name__}: {error}".encode()[: _NOTE_BYTES - 1]
        self._memory[: len(text) + 1] = text + b"\0"
        os.kill(self._parent, signal.SIGTERM)

    def read(self) -> str:
        """What was noted; empty where nothing was."""
        return self._memory[:].split(b"\0", 1)[0].decode(errors="ignore")
