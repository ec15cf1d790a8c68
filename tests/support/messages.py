"""Entries of the queue that no part of Orthanc Lumbar has written."""

import base64
import json
from uuid import uuid4

from worker.service.jobs import TASK_NAME


def envelope(**changes) -> dict:
    """A message as kombu stores it; changes replace parts of it."""
    body = json.dumps([[], {"study": "s"}, {}]).encode()
    message = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": TASK_NAME, "id": "1"},
        "properties": {
            "body_encoding": "base64",
            "delivery_tag": uuid4().hex,
            "delivery_info": {"exchange": "", "routing_key": "q"},
        },
    }
    return message | changes


def body_of(*content) -> dict:
    return {"body": base64.b64encode(json.dumps(content).encode()).decode()}


MALFORMED = [
    b"",
    b"no JSON",
    b"\xff\xfe",
    b"[" * 5000,
    json.dumps([1, 2]).encode(),
    json.dumps({}).encode(),
    json.dumps(envelope(headers={"task": "another", "id": "1"})).encode(),
    json.dumps(envelope(headers=None)).encode(),
    json.dumps(envelope(properties={})).encode(),
    json.dumps(envelope(**{"content-type": "application/x-python-serialize"})).encode(),
    json.dumps(envelope(body="!")).encode(),
    json.dumps(envelope(body="QUFB" * 40_000)).encode(),
    json.dumps(envelope(**body_of([], {"study": "aaa\n"}, {}))).encode(),
    json.dumps(envelope(**body_of([], {"study": "../../tools/shutdown?x="}, {}))).encode(),
    json.dumps(envelope(**body_of([], {"study": 7}, {}))).encode(),
    json.dumps(envelope(**body_of([], {"study": "s", "retries": "many"}, {}))).encode(),
    json.dumps(envelope(**body_of([], {"study": "s", "other": 1}, {}))).encode(),
    json.dumps(envelope(**body_of([], {}, {}))).encode(),
    json.dumps(envelope(**body_of(["s"], {}, {}))).encode(),
    json.dumps(envelope(**body_of({"study": "s"}))).encode(),
]
