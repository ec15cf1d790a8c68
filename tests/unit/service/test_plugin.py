"""The script that runs inside Orthanc, here with a stand-in for Orthanc's module."""

import ast
import json
import re
import sqlite3
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.demo import stack

SCRIPTS = sorted(stack.PLUGIN.parent.glob("*.py"))


def wait_until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@dataclass
class Redis:
    """In place of Redis: what it took, in how many connections, and whether it is there."""

    taken: list[str] = field(default_factory=list)
    connections: int = 0
    away: bool = False


@pytest.fixture
def redis(plugin, monkeypatch) -> Redis:
    """A Redis that the plugin finds at its address."""
    redis = Redis()

    @contextmanager
    def connected(*_, **__):
        redis.connections += 1
        yield None

    def send(_, entry) -> None:
        if redis.away:
            raise ConnectionError("away")
        redis.taken.append(entry.study)

    monkeypatch.setattr(plugin.script, "Connection", connected)
    monkeypatch.setattr(plugin.script, "Producer", lambda *_, **__: None)
    monkeypatch.setattr(plugin.script, "send", send)
    return redis


def stable(plugin, *studies: str) -> None:
    for study in studies:
        plugin.on_change(plugin.change.STABLE_STUDY, None, study)


def test_only_stable_studies_are_announced_in_order(plugin, redis):
    """Every stable study leads to one message in the order of arrival, nothing else to any."""
    plugin.on_change(plugin.change.NEW_INSTANCE, None, "instance")
    stable(plugin, "a", "b", "c")
    wait_until(lambda: len(redis.taken) == 3)
    assert redis.taken == ["a", "b", "c"]


def test_redis_away_loses_nothing_and_blocks_nobody(plugin, redis):
    """While Redis fails studies go to disk at once; afterwards each is sent once, in order, over
    one connection."""
    redis.away = True
    stable(plugin, "a")
    wait_until(lambda: any("takes no message" in line for line in plugin.logged))
    stable(plugin, "b", "a", "c")
    wait_until(lambda: len(plugin.script.spool) == 3)
    redis.away, redis.connections = False, 0
    wait_until(lambda: len(plugin.script.spool) == 0)
    assert redis.taken == ["b", "a", "c"]
    assert redis.connections == 1


def test_the_callback_does_not_wait_for_the_disk(plugin, redis, monkeypatch):
    """Orthanc holds Python's lock meanwhile: a disk that hangs must not be felt there."""
    hangs, accept = threading.Event(), plugin.script.spool.accept

    def slow(studies):
        hangs.wait(10)
        return accept(studies)

    monkeypatch.setattr(plugin.script.spool, "accept", slow)
    stable(plugin, *"abcdef")
    assert not redis.taken
    hangs.set()
    wait_until(lambda: redis.taken == list("abcdef"))


def test_a_study_reaches_the_disk_while_the_sender_hangs(plugin, redis, monkeypatch):
    """An address that answers nothing holds a message for seconds; arrivals do not wait for it."""
    answers, spool = threading.Event(), plugin.script.spool
    monkeypatch.setattr(plugin.script, "send", lambda *_: answers.wait(10))
    stable(plugin, "a")
    wait_until(lambda: redis.connections == 1)
    stable(plugin, "b")
    wait_until(lambda: len(spool) == 2)
    with sqlite3.connect(spool.path) as disk:
        assert disk.execute("SELECT study FROM waiting").fetchall() == [("a",), ("b",)]
    answers.set()


def test_what_was_not_sent_is_sent_after_a_restart(plugin, redis, load_plugin, monkeypatch):
    """Orthanc stops at once although Redis is away, says so, and its next start sends the rest."""
    monkeypatch.setattr(plugin.script, "FIRST_WAIT_S", 1000.0)
    redis.away = True
    stable(plugin, "a", "b")
    wait_until(lambda: any("takes no message" in line for line in plugin.logged))
    plugin.stop()
    assert any("2 studies not sent wait on disk" in line for line in plugin.logged)

    redis.away = False
    again = load_plugin()
    for name in ("Connection", "Producer", "send"):
        monkeypatch.setattr(again.script, name, getattr(plugin.script, name))
    stable(again, "c")
    wait_until(lambda: len(redis.taken) == 3)
    assert redis.taken == ["a", "b", "c"]


def test_one_word_follows_a_study_through_the_log(plugin, redis):
    """Study and message id stand in every line about it, in the words of all our logs."""
    redis.away = True
    stable(plugin, "s" * 44)
    wait_until(lambda: any("takes no message" in line for line in plugin.logged))
    redis.away = False
    wait_until(lambda: any("lumbar: sent" in line for line in plugin.logged))
    about = [line for line in plugin.logged if "s" * 44 in line]
    words = re.fullmatch(r"lumbar: .+ study=(s+) message=([0-9a-f-]{36})", about[0])
    assert all(line.endswith(f"study={words[1]} message={words[2]}") for line in about)
    assert len(about) >= 3


def test_redis_is_asked_often_at_first_and_seldom_later(plugin):
    """At most 5 s between two tries in the first minute, at most 30 s ever."""
    waits = plugin.script.backoff_s
    first = plugin.script.FIRST_WAIT_S
    assert [waits(n, 1.0) for n in range(4)] == [first, 2 * first, 4 * first, 8 * first]
    assert max(waits(n, 59.0) for n in range(10_000)) <= 5.0
    assert max(waits(n, 1e6) for n in range(10_000)) <= 30.0


@pytest.mark.parametrize(
    ("given", "holds"), [("7", 7), ("", 100_000), ("no", 100_000), ("0", 100_000)]
)
def test_how_many_may_wait_is_set_by_a_positive_number(load_plugin, monkeypatch, given, holds):
    """Anything else is named in the log, and the default holds."""
    monkeypatch.setenv("LUMBAR_SPOOL_MOST", given)
    plugin = load_plugin()
    assert plugin.script.most_waiting() == holds
    wrong = given not in ("", "7")
    assert wrong == any("LUMBAR_SPOOL_MOST" in line for line in plugin.logged)


@pytest.mark.parametrize(
    ("configuration", "folder"),
    [
        ({"IndexDirectory": "/index", "StorageDirectory": "/storage"}, "/index"),
        ({"StorageDirectory": "storage"}, "/etc/orthanc/storage"),
        ({}, "/etc/orthanc/OrthancStorage"),
    ],
)
def test_the_spool_lies_beside_orthancs_database(plugin, monkeypatch, configuration, folder):
    """Where Orthanc itself looks for it: a relative folder is relative to its configuration."""
    script = plugin.script
    monkeypatch.setattr(script.orthanc, "GetConfiguration", lambda: json.dumps(configuration))
    monkeypatch.setattr(script.orthanc, "GetConfigurationPath", lambda: "/etc/orthanc/orthanc.json")
    assert script.spool_folder() == Path(folder)
    monkeypatch.setenv("LUMBAR_SPOOL", "/elsewhere")
    assert script.spool_folder() == Path("/elsewhere")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_names_its_licence_and_imports_nothing_of_ours(script):
    """A distributed script falls under the AGPL, so the Apache-2.0 part must stay apart."""
    text = script.read_text()
    assert "SPDX-License-Identifier: AGPL-3.0-or-later" in text
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
        )
    }
    assert imported - set(sys.stdlib_module_names) <= {"orthanc", "kombu", "lumbar_spool"}


def test_no_file_beside_the_script_hides_a_library():
    """Orthanc puts the script's folder first on Python's path."""
    assert {path.stem for path in SCRIPTS} == {"lumbar_plugin", "lumbar_spool"}
