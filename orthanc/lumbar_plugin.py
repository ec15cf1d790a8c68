# SPDX-License-Identifier: AGPL-3.0-or-later
# Copyright the Orthanc Lumbar authors. A script distributed for Orthanc's Python plugin falls
# under the AGPL as that plugin does; the rest of Orthanc Lumbar is Apache-2.0 and not
# imported here.
"""Announces every study that became stable to Orthanc Lumbar, and serves the OHIF viewer.

Set `PythonScript` of Orthanc's configuration to this file. It runs in the Python 3.11 or later
that Orthanc embeds and needs kombu and redis there (Debian: python3-kombu, python3-redis). It
reads these environment variables of Orthanc's process:

LUMBAR_REDIS_URL, LUMBAR_QUEUE   Redis and the name of the worker's queue
LUMBAR_OHIF                      the folder that deploy/ohif/install.py made; without it no
                                 viewer is served

Orthanc calls `on_change` while it holds Python's global lock, so the callback only appends the
study's id to a queue in memory; a thread sends it to Redis. A study that Redis does not accept is
logged and dropped: the worker's reconciliation finds it in Orthanc (LUMBAR_RECONCILE_S).
No other file of this folder may be named like a library: the folder is `sys.path[0]`.
"""

import mimetypes
import os
import pathlib
import queue
import re
import sys
import threading
import time
import uuid

import orthanc

if not hasattr(sys, "argv"):  # Orthanc's embedded interpreter has none; kombu reads it.
    sys.argv = [""]

from kombu import Connection, Producer
from kombu.exceptions import KombuError
from redis import RedisError

TASK = "lumbar.grade_study"
REDIS_URL = os.environ.get("LUMBAR_REDIS_URL") or "redis://127.0.0.1:6379/0"
QUEUE = os.environ.get("LUMBAR_QUEUE") or "lumbar"
NEW = 3  # priorities of the queue: 0 urgent, 3 new, 6 and 9 backlog
SOCKET_TIMEOUT_S = 5
TIMEOUTS = {
    "socket_timeout": SOCKET_TIMEOUT_S,
    "socket_connect_timeout": SOCKET_TIMEOUT_S,
    "max_retries": 1,
    "interval_start": 0,  # kombu would sleep two seconds before its retry
}
SEND_ERRORS = (KombuError, RedisError, OSError, LookupError, ValueError)  # the last two: a bad URL
STOP_WAIT_S = 5.0

VIEWER = os.environ.get("LUMBAR_OHIF") or ""
PAGE = "index.html"
# The build puts a hash of the content into these names: a browser may keep such a file for ever.
HASHED = re.compile(r"(^|[/.])[0-9a-f]{16}\.")

# A button on the page of a study in Orthanc Explorer.
EXPLORER_BUTTON = """
$('#study').live('pagebeforeshow', function() {
  var study = $.mobile.pageData.uuid;
  $('#lumbar-viewer').remove();
  $.getJSON('../studies/' + study, function(found) {
    var uid = encodeURIComponent(found.MainDicomTags.StudyInstanceUID);
    $('<a>').attr({id: 'lumbar-viewer', target: '_blank', 'data-role': 'button',
        'data-icon': 'search', 'data-theme': 'e', href: '../ohif/viewer?StudyInstanceUIDs=' + uid})
      .text('Open in OHIF, with the lumbar grades')
      .insertAfter($('#study-info')).button();
  });
});
"""


arrived: "queue.SimpleQueue[str | None]" = queue.SimpleQueue()


def on_change(change_type: object, _level: object, resource_id: str) -> None:
    """Orthanc's callback: queue the study in memory and return."""
    if change_type == orthanc.ChangeType.STABLE_STUDY:
        arrived.put(resource_id)
    elif change_type == orthanc.ChangeType.ORTHANC_STOPPED:
        stop()


def announce_all() -> None:
    """Announce every study that arrives, in order, until `arrived` yields None."""
    while (study := arrived.get()) is not None:
        announce(study)


def announce(study: str) -> None:
    """Send the message of one study, once; log where Redis does not accept it."""
    message = str(uuid.uuid4())
    try:
        with Connection(REDIS_URL, transport_options=TIMEOUTS) as connection:
            send(Producer(connection, serializer="json"), study, message)
    except SEND_ERRORS as error:
        orthanc.LogWarning(
            f"lumbar: Redis unavailable ({type(error).__name__}); the study will be found by "
            f"reconciliation study={study} message={message}"
        )
    else:
        orthanc.LogWarning(f"lumbar: sent study={study} message={message}")


def send(producer: Producer, study: str, message: str) -> None:
    """Send one message of Celery's protocol 2 (docs.celeryq.dev, internals/protocol)."""
    kwargs = {"study": study}
    headers = {
        "lang": "py",
        "task": TASK,
        "id": message,
        "root_id": message,
        "parent_id": None,
        "group": None,
        "retries": 0,
        "eta": None,
        "expires": None,
        "timelimit": [None, None],
        "argsrepr": "()",
        "kwargsrepr": repr(kwargs),
        "origin": "orthanc",
        "ignore_result": True,
        "sent": time.time(),  # not Celery's: the worker's metrics show how long messages wait
    }
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    producer.publish(
        [[], kwargs, embed],
        routing_key=QUEUE,
        headers=headers,
        correlation_id=message,
        priority=NEW,
        retry=False,
    )


sender = threading.Thread(target=announce_all, name="lumbar-sender", daemon=True)


def stop() -> None:
    """Announce the last studies for at most STOP_WAIT_S, and log how many are left."""
    arrived.put(None)
    sender.join(STOP_WAIT_S)
    if sender.is_alive():  # the None that it has not read counts for the study that it is sending
        orthanc.LogWarning(
            f"lumbar: Orthanc stops; {arrived.qsize()} studies were not announced and will be "
            "found by reconciliation"
        )


def serve(output: "orthanc.RestOutput", _uri: str, **request: object) -> None:
    """Answer a request for the viewer: its file, or its page for every address within it.

    Only what was listed when Orthanc started is opened.
    """
    if request["method"] != "GET":
        output.SendMethodNotAllowed("GET")
        return
    name = request["groups"][0]
    if name not in files:
        name = PAGE
    compressed = f"{name}.gz"
    path = files[name]
    if compressed in files and "gzip" in request["headers"].get("accept-encoding", ""):
        path = files[compressed]
        output.SetHttpHeader("Content-Encoding", "gzip")
    keep = "max-age=31536000, immutable" if HASHED.search(name) else "no-cache"
    output.SetHttpHeader("Cache-Control", keep)
    output.SetHttpHeader("X-Content-Type-Options", "nosniff")
    output.AnswerBuffer(path.read_bytes(), media_type(name))


def media_type(name: str) -> str:
    """The media type of a file of the viewer; the system's own table may lack some."""
    known = {".js": "text/javascript", ".wasm": "application/wasm", ".woff2": "font/woff2"}
    suffix = pathlib.PurePosixPath(name).suffix
    return known.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def listed(folder: pathlib.Path) -> "dict[str, pathlib.Path]":
    """Every file of a folder by its relative name."""
    return {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}


files = listed(pathlib.Path(VIEWER)) if VIEWER else {}

sender.start()
orthanc.RegisterOnChangeCallback(on_change)
orthanc.LogWarning(f"lumbar: stable studies are announced in the queue {QUEUE}")
if PAGE in files:
    orthanc.RegisterRestCallback("/ohif/(.*)", serve)
    orthanc.ExtendOrthancExplorer(EXPLORER_BUTTON)
    orthanc.LogWarning(f"lumbar: the viewer of {VIEWER} is served under /ohif/")
elif VIEWER:
    orthanc.LogError(f"lumbar: no viewer in {VIEWER}; make it with deploy/ohif/install.py")
