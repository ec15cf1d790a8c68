# SPDX-License-Identifier: AGPL-3.0-or-later
# Copyright the Orthanc Lumbar authors. A script distributed for Orthanc's Python plugin falls
# under the AGPL as that plugin does; the rest of Orthanc Lumbar is Apache-2.0 and not
# imported here.
"""Tells Orthanc Lumbar of every study that became stable, and serves the OHIF viewer.

Set `PythonScript` of Orthanc's configuration to this file. It runs in the Python that
Orthanc embeds and needs kombu and redis there (Debian: python3-kombu, python3-redis). It
reads three environment variables of Orthanc's process: LUMBAR_REDIS_URL, LUMBAR_QUEUE, and
LUMBAR_OHIF, the folder that deploy/ohif/install.py made; without it no viewer is served.

Orthanc calls `on_change` under Python's lock, so that only puts the study's id on a queue
in memory; a thread of our own sends it to Redis and waits as long as Redis is away.
No other file of this folder may be named like a library: the folder is `sys.path[0]`.
"""

import mimetypes
import os
import pathlib
import queue
import re
import sys
import threading
import uuid

import orthanc

if not hasattr(sys, "argv"):  # Orthanc's embedded interpreter has none; kombu looks at it.
    sys.argv = [""]

from kombu import Connection, Producer

TASK = "lumbar.grade_study"
REDIS_URL = os.environ.get("LUMBAR_REDIS_URL") or "redis://127.0.0.1:6379/0"
QUEUE = os.environ.get("LUMBAR_QUEUE") or "lumbar"
SOCKET_TIMEOUT_S = 5
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
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

waiting: "queue.SimpleQueue[str | None]" = queue.SimpleQueue()
stopping = threading.Event()


def send(study: str) -> None:
    """Send one message of Celery's protocol 2 (docs.celeryq.dev, internals/protocol)."""
    task_id, kwargs = str(uuid.uuid4()), {"study": study}
    headers = {
        "lang": "py",
        "task": TASK,
        "id": task_id,
        "root_id": task_id,
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
    }
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    timeouts = {
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        "max_retries": 1,
    }
    with Connection(REDIS_URL, transport_options=timeouts) as connection:
        Producer(connection, serializer="json").publish(
            [[], kwargs, embed],
            routing_key=QUEUE,
            headers=headers,
            correlation_id=task_id,
            retry=False,
        )


def run() -> None:
    """Send what waits, in order, each until Redis has taken it or Orthanc stops."""
    while (study := waiting.get()) is not None:
        wait_s = FIRST_WAIT_S
        while True:
            try:
                send(study)
            except Exception as error:  # noqa: BLE001 - nothing may end the only thread that sends
                orthanc.LogWarning(
                    f"lumbar: Redis takes no message ({type(error).__name__}); study {study} "
                    f"waits {wait_s:.1f} s"
                )
            else:
                break
            if stopping.wait(wait_s):
                orthanc.LogError(f"lumbar: Orthanc stops and study {study} was not announced")
                break
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)


sender = threading.Thread(target=run, name="lumbar-sender", daemon=True)


def on_change(change_type: object, _level: object, resource_id: str) -> None:
    """Orthanc's callback: hand over and return."""
    if change_type == orthanc.ChangeType.STABLE_STUDY:
        waiting.put(resource_id)
    elif change_type == orthanc.ChangeType.ORTHANC_STOPPED:
        stopping.set()
        waiting.put(None)
        sender.join(STOP_WAIT_S)


def serve(output: "orthanc.RestOutput", _uri: str, **request: object) -> None:
    """Answer a request for the viewer: its file, or its page for every address within it.

    Only what was listed when Orthanc started is ever opened, whatever the address says.
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
orthanc.LogWarning(f"lumbar: stable studies go to the queue {QUEUE}")
if PAGE in files:
    orthanc.RegisterRestCallback("/ohif/(.*)", serve)
    orthanc.ExtendOrthancExplorer(EXPLORER_BUTTON)
    orthanc.LogWarning(f"lumbar: the viewer of {VIEWER} is served under /ohif/")
elif VIEWER:
    orthanc.LogError(f"lumbar: no viewer in {VIEWER}; make it with deploy/ohif/install.py")
