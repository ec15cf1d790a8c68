"""A study to grade, as messages and stored jobs describe it; what is malformed is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from enum import IntEnum
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

TASK_NAME: Final = "lumbar.grade_study"
MAX_JOB_BYTES: Final = 4096


class Priority(IntEnum):
    """Which studies are graded first: smaller numbers, in the steps that kombu has for Redis."""

    URGENT = 0
    NEW = 3
    RECENT = 6
    """Found by reconciliation, changed within the last day."""
    BACKLOG = 9


class InvalidJob(ValueError):
    """A message or a stored job that no version of Orthanc Lumbar has written."""


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class GradeJob:
    """One study to grade.

    `study` is an Orthanc id or a Study Instance UID: nothing that could reach another path of
    the archive. `retries` counts attempts that ended with a transient error. With `regrade` a
    report of other models does not count as done. Raises pydantic's ValidationError for
    anything else.
    """

    study: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.\-]{0,63}$")]
    retries: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    regrade: bool = False
    priority: Annotated[int, Field(ge=0, le=255)] = Priority.NEW

    def to_json(self) -> str:
        """The job as JSON."""
        return _JOB.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> GradeJob:
        """Read what `to_json` wrote; raise InvalidJob for anything else."""
        if len(text) > MAX_JOB_BYTES:
            raise InvalidJob(f"longer than {MAX_JOB_BYTES} bytes")
        try:
            return _JOB.validate_json(text)
        except ValidationError as error:
            raise InvalidJob(_reason(error)) from None


_JOB: Final = TypeAdapter(GradeJob)


def job_of(arguments: Mapping[str, Any]) -> GradeJob:
    """The job that a message asks for by its keyword arguments; raise InvalidJob."""
    try:
        return GradeJob(**arguments)
    except ValidationError as error:
        raise InvalidJob(_reason(error)) from None
    except TypeError:
        raise InvalidJob("not the arguments of this task") from None


def arguments_of(job: GradeJob) -> dict[str, Any]:
    """The keyword arguments of a job's message; the priority is a property of the message."""
    arguments = asdict(job)
    del arguments["priority"]
    return dict(arguments)


def _reason(error: ValidationError) -> str:
    """The fields that are wrong, without their values: a study's name may be a patient's."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['type']}" for one in found[:3])
