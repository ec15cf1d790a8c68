"""The record of a study: how its grading ended, and about which images.

The archive decides what is done; the record says which images that is about, and holds what no
report can: why there is none.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from worker import PIPELINE_VERSION, __version__

if TYPE_CHECKING:
    from worker.archive import Archive


class Outcome(StrEnum):
    """How an attempt ended without an error."""

    GRADED = "graded"
    ALREADY_GRADED = "already_graded"
    WAITING = "waiting"
    """Series are missing, and the site's policy is to wait for them."""
    SKIPPED = "skipped"
    """A record says why there will be no report, and nothing has changed since."""


class Kind(StrEnum):
    """How the grading of a study ended."""

    GRADED = "graded"
    REJECTED = "rejected"
    """It cannot be graded as it is; `reason` says why."""
    FAILED = "failed"
    """A dead letter; `lumbar failures` lists and replays it."""
    DISMISSED = "dismissed"
    """A dead letter that an administrator dismissed: it is neither graded nor listed."""
    WAITING = "waiting"
    """Series are missing; it is checked again at `until`, or when they arrive."""


class Record(BaseModel):
    """How the grading of one study ended.

    `sources` is the fingerprint of the images, `bundle` the SHA-256 of the models, `pipeline` the
    version of intake, findings and layout (`PIPELINE_VERSION`), `report` the SOP Instance UID of
    the Structured Report, `forwarded` that of the report that was forwarded; `attempts` counts
    from 1.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Kind
    sources: str
    bundle: str
    pipeline: int = 1
    time: datetime
    report: str | None = None
    code: str = ""
    reason: str = ""
    step: str = ""
    attempts: int = 1
    until: datetime | None = None
    forwarded: str | None = None
    software: str = __version__

    def is_about(self, sources: str, bundle: str | None = None) -> bool:
        """Whether it is about these images, and if given, by these models and this pipeline."""
        return self.sources == sources and (bundle is None or self.is_by(bundle))

    def is_by(self, bundle: str) -> bool:
        """Whether these models and this version of the pipeline would write the same report."""
        return (self.bundle, self.pipeline) == (bundle, PIPELINE_VERSION)

    def is_final(self, now: datetime) -> bool:
        """Whether there is nothing to do while the images stay the same."""
        return self.kind is not Kind.WAITING or (self.until is not None and now < self.until)

    def report_exists(self, archive: Archive, study: str) -> bool:
        """Whether the archive holds the report that it names; true if it names none."""
        return self.report is None or archive.stored(study, self.report) is not None


def sources_of(inventory: Iterable[str]) -> str:
    """The fingerprint of an inventory; order and repetition do not matter."""
    return sha256("\n".join(sorted(set(inventory))).encode()).hexdigest()


def now() -> datetime:
    """The time as records write it: UTC, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)
