"""Structured logs of the service and of Celery, without patient data.

Exceptions are logged by type and location, never by message: parsers quote the values that they
cannot parse, and those may be a patient's name.
"""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from types import TracebackType
from typing import Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from worker.settings import LogFormat, Settings

_QUIET: Final = {
    "celery.app.trace": logging.WARNING,  # repeats what the task logs
    "httpx": logging.WARNING,  # one line for every request
    "httpcore": logging.WARNING,
    "matplotlib": logging.WARNING,
    "PIL": logging.WARNING,
    "pydicom": logging.CRITICAL,  # quotes values
}


def configure_logging(settings: Settings) -> None:
    """Send all logs of this process to standard error, in one format."""
    warnings.filterwarnings("ignore", module="pydicom")
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        exception_without_message,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    renderer: Processor = (
        structlog.processors.JSONRenderer(sort_keys=True)
        if settings.log_format is LogFormat.JSON
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # the rich one prints variables
        )
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)


def exception_without_message(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace `exc_info` by the exception's type and the locations of its traceback."""
    info = event.pop("exc_info", None)
    error = sys.exc_info() if info is True else info
    if isinstance(error, BaseException):
        error = (type(error), error, error.__traceback__)
    if error and error[0] is not None:
        event["error"] = error[0].__name__
        event["trace"] = _places(error[2])
    return event


def _places(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
