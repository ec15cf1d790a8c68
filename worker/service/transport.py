"""The connection to the queue: malformed entries are dropped before Celery reads them.

Celery ends its process at an entry of the queue that is not JSON, and redelivers one that its task
cannot take. Such an entry has left the queue when it is read here: it is dropped and logged.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from queue import Empty
from typing import Any, Final

import structlog
from kombu.transport import redis as kombu_redis

from worker.service.jobs import TASK_NAME, InvalidJob, job_of

MAX_BODY_BYTES: Final = 64 * 1024
"""A valid message has about 200 bytes."""

_log = structlog.stdlib.get_logger(__name__)


class Channel(kombu_redis.Channel):
    """A channel that survives entries that are not JSON."""

    def _brpop_read(self, **options: Any) -> Any:  # noqa: ANN401 - kombu's
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            _log.error("malformed message dropped", reason=f"not JSON: {type(error).__name__}")
            raise Empty from None


class Transport(kombu_redis.Transport):
    """Redis as a broker that delivers valid messages only."""

    Channel = Channel

    def _deliver(self, message: object, queue: str) -> None:
        try:
            check_message(message)
        except InvalidJob as error:
            _log.error("malformed message dropped", reason=str(error))
            return
        super()._deliver(message, queue)  # type: ignore[no-untyped-call]


def check_message(message: object) -> None:
    """Raise InvalidJob unless an entry of the queue is a message that asks for a grading."""
    if not isinstance(message, Mapping):
        raise InvalidJob("not an object")
    properties, headers = message.get("properties"), message.get("headers")
    if not isinstance(properties, Mapping) or not isinstance(headers, Mapping):
        raise InvalidJob("without properties or headers")
    if headers.get("task") != TASK_NAME or not isinstance(headers.get("id"), str):
        raise InvalidJob("not a message of this task")
    if message.get("content-type") != "application/json" or (
        message.get("content-encoding") != "utf-8" or properties.get("body_encoding") != "base64"
    ):
        raise InvalidJob("not JSON in Base64")
    tag, delivery = properties.get("delivery_tag"), properties.get("delivery_info")
    if not isinstance(tag, str) or not isinstance(delivery, Mapping):
        raise InvalidJob("without a delivery tag")
    body = message.get("body")
    if not isinstance(body, str) or len(body) > MAX_BODY_BYTES:
        raise InvalidJob(f"no body of at most {MAX_BODY_BYTES} bytes")
    try:
        content = json.loads(base64.b64decode(body, validate=True))
    except (binascii.Error, RecursionError, ValueError):
        raise InvalidJob("the body is not JSON in Base64") from None
    match content:
        case [[], dict(arguments), {}]:
            job_of(arguments)
        case _:
            raise InvalidJob("not the arguments of this task")
