# SPDX-License-Identifier: AGPL-3.0-or-later
# Copyright the Orthanc Lumbar authors. A script distributed for Orthanc's Python plugin falls
# under the AGPL as that plugin does; the rest of Orthanc Lumbar is Apache-2.0 and not
# imported here.
"""Tells Orthanc Lumbar of every study that became stable, and serves the OHIF viewer.

Set `PythonScript` of Orthanc's configuration to this file, with lumbar_spool.py beside it. It
runs in the Python 3.11 or later that Orthanc embeds and needs kombu and redis there (Debian:
python3-kombu, python3-redis). It reads these environment variables of Orthanc's process:

LUMBAR_REDIS_URL, LUMBAR_QUEUE   where the worker listens
LUMBAR_SPOOL                     the folder of the studies that wait while Redis is away; by
                                 default that of Orthanc's database
LUMBAR_SPOOL_MOST                how many may wait there, by default 100000
LUMBAR_OHIF                      the folder that deploy/ohif/install.py made; without it no
                                 viewer is served

Orthanc calls `on_change` under Python's lock, so that only puts the study's id on a queue in
memory. One thread of our own puts it from there on disk, within milliseconds; another sends it
to Redis, and waits as long as Redis is away.
No other file of this folder may be named like a library: the folder is `sys.path[0]`.
"""

import json
import mimetypes
import os
import pathlib
import queue
import re
import signal
import sys
import threading
import time

import lumbar_spool

import orthanc

if not hasattr(sys, "argv"):  # Orthanc's embedded interpreter has none; kombu looks at it.
    sys.argv = [""]

from kombu import Connection, Producer

TASK = "lumbar.grade_study"
REDIS_URL = os.environ.get("LUMBAR_REDIS_URL") or "redis://127.0.0.1:6379/0"
QUEUE = os.environ.get("LUMBAR_QUEUE") or "lumbar"
NEW = 3  # of the priorities that Redis's lists stand for: 0 urgent, 3 new, 6 and 9 backlog
MOST_WAITING = 100_000
SOCKET_TIMEOUT_S = 5
FIRST_WAIT_S = 0.5
SHORT_WAIT_S, LONG_WAIT_S = 5.0, 30.0  # at most: in Redis's first minute away, and after it
SHORT_ABSENCE_S = 60.0
TIMEOUTS = {
    "socket_timeout": SOCKET_TIMEOUT_S,
    "socket_connect_timeout": SOCKET_TIMEOUT_S,
    "max_retries": 1,
    "interval_start": 0,  # kombu would sleep two seconds before its own second try
}
STOP_WAIT_S = 5.0

# A file-size limit is then an error of the one write, as every Python has it but an embedded
# one; without this the system ends Orthanc.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

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


def spool_folder() -> pathlib.Path:
    """LUMBAR_SPOOL, or the folder of Orthanc's database."""
    if chosen := os.environ.get("LUMBAR_SPOOL"):
        return pathlib.Path(chosen)
    configuration = json.loads(orthanc.GetConfiguration())
    folder = configuration.get("IndexDirectory") or configuration.get("StorageDirectory")
    # A relative one is relative to the configuration's file; the second is Orthanc's default.
    return pathlib.Path(orthanc.GetConfigurationPath()).parent / (folder or "OrthancStorage")


def most_waiting() -> int:
    """LUMBAR_SPOOL_MOST, or the default where that is no positive number."""
    given = os.environ.get("LUMBAR_SPOOL_MOST") or str(MOST_WAITING)
    if given.isdecimal() and int(given) > 0:
        return int(given)
    orthanc.LogError(f"lumbar: LUMBAR_SPOOL_MOST is no positive number; {MOST_WAITING} holds")
    return MOST_WAITING


arrived: "queue.SimpleQueue[str | None]" = queue.SimpleQueue()
spool = lumbar_spool.Spool(
    spool_folder(), most_waiting(), warn=orthanc.LogWarning, error=orthanc.LogError
)
something_waits = threading.Event()
stopping = threading.Event()


def on_change(change_type: object, _level: object, resource_id: str) -> None:
    """Orthanc's callback: hand over and return."""
    if change_type == orthanc.ChangeType.STABLE_STUDY:
        arrived.put(resource_id)
    elif change_type == orthanc.ChangeType.ORTHANC_STOPPED:
        stop()


def keep() -> None:
    """Put what arrives into the spool at once, and let that mend itself now and then."""
    batch: list[str | None] = []
    while None not in batch:
        for entry in spool.accept(batch):
            orthanc.LogInfo(f"lumbar: stable study={entry.study} message={entry.message}")
        something_waits.set()
        batch = []
        try:
            batch.append(arrived.get(timeout=lumbar_spool.RETRY_S))
            while True:
                batch.append(arrived.get_nowait())
        except queue.Empty:
            pass
    spool.accept([study for study in batch if study is not None])
    something_waits.set()


def deliver() -> None:
    """Send what waits, as soon as there is something, until Orthanc stops."""
    last_round = False
    while not last_round:
        something_waits.wait()
        something_waits.clear()
        last_round = stopping.is_set()
        deliver_all()


def deliver_all() -> None:
    """Send what waits, in order, each until Redis has taken it or Orthanc stops."""
    failures, away_since = 0, 0.0
    while entry := spool.oldest():
        try:
            # One connection for all that waits, none while nothing does.
            with Connection(REDIS_URL, transport_options=TIMEOUTS) as connection:
                producer = Producer(connection, serializer="json")
                while entry := spool.oldest():
                    send(producer, entry)
                    spool.sent(entry)
                    orthanc.LogWarning(f"lumbar: sent study={entry.study} message={entry.message}")
                    failures = 0
        except Exception as error:  # noqa: BLE001 - nothing may end the only thread that sends
            away_since = away_since if failures else time.monotonic()
            wait_s = backoff_s(failures, time.monotonic() - away_since)
            failures += 1
            orthanc.LogWarning(
                f"lumbar: Redis takes no message ({type(error).__name__}); {len(spool)} wait, next "
                f"try in {wait_s:.1f} s study={entry.study} message={entry.message}"
            )
            if stopping.wait(wait_s):
                return


def backoff_s(failures: int, away_s: float) -> float:
    """Seconds until the next try after so many failures before this one."""
    longest = SHORT_WAIT_S if away_s < SHORT_ABSENCE_S else LONG_WAIT_S
    return min(FIRST_WAIT_S * 2 ** min(failures, 10), longest)


def send(producer: Producer, entry: lumbar_spool.Waiting) -> None:
    """Send one message of Celery's protocol 2 (docs.celeryq.dev, internals/protocol)."""
    kwargs = {"study": entry.study}
    headers = {
        "lang": "py",
        "task": TASK,
        "id": entry.message,
        "root_id": entry.message,
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
        "sent": time.time(),  # not Celery's: the worker's metrics tell how long messages wait
    }
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    producer.publish(
        [[], kwargs, embed],
        routing_key=QUEUE,
        headers=headers,
        correlation_id=entry.message,
        priority=NEW,
        retry=False,
    )


keeper = threading.Thread(target=keep, name="lumbar-keeper", daemon=True)
sender = threading.Thread(target=deliver, name="lumbar-sender", daemon=True)


def stop() -> None:
    """Send what can be sent now, and say what becomes of the rest."""
    arrived.put(None)
    keeper.join(STOP_WAIT_S)
    stopping.set()
    something_waits.set()
    sender.join(STOP_WAIT_S)
    if len(spool):
        fate = "wait on disk" if spool.on_disk else "are forgotten; the reconciler will find them"
        orthanc.LogWarning(f"lumbar: Orthanc stops; {len(spool)} studies not sent {fate}")


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

keeper.start()
sender.start()
orthanc.RegisterOnChangeCallback(on_change)
orthanc.LogWarning(f"lumbar: stable studies go to the queue {QUEUE}, by way of {spool.path}")
if PAGE in files:
    orthanc.RegisterRestCallback("/ohif/(.*)", serve)
    orthanc.ExtendOrthancExplorer(EXPLORER_BUTTON)
    orthanc.LogWarning(f"lumbar: the viewer of {VIEWER} is served under /ohif/")
elif VIEWER:
    orthanc.LogError(f"lumbar: no viewer in {VIEWER}; make it with deploy/ohif/install.py")
