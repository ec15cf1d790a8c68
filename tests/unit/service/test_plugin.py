"""The script that runs inside Orthanc, here with a stand-in for Orthanc's module."""

import ast
import re
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

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
    """In place of Redis: what it accepted, and whether it is available."""

    accepted: list[str] = field(default_factory=list)
    available: bool = True


@pytest.fixture
def redis(plugin, monkeypatch) -> Redis:
    """A Redis that the plugin finds at its address."""
    redis = Redis()

    @contextmanager
    def connected(*_, **__):
        yield None

    def send(_, study, message) -> None:
        if not redis.available:
            raise ConnectionError("connection refused")
        redis.accepted.append(study)

    monkeypatch.setattr(plugin.script, "Connection", connected)
    monkeypatch.setattr(plugin.script, "Producer", lambda *_, **__: None)
    monkeypatch.setattr(plugin.script, "send", send)
    return redis


def stable(plugin, *studies: str) -> None:
    for study in studies:
        plugin.on_change(plugin.change.STABLE_STUDY, None, study)


def test_only_stable_studies_are_announced_in_order(plugin, redis):
    """Every stable study leads to one message in the order of arrival; no other change does."""
    plugin.on_change(plugin.change.NEW_INSTANCE, None, "instance")
    stable(plugin, "a", "b", "c")
    wait_until(lambda: len(redis.accepted) == 3)
    assert redis.accepted == ["a", "b", "c"]


def test_a_study_that_redis_does_not_accept_is_logged(plugin, redis):
    """One line names the study and how it will be found; studies after it are announced."""
    redis.available = False
    stable(plugin, "a", "b")
    wait_until(lambda: sum("Redis unavailable" in line for line in plugin.logged) == 2)
    assert all(
        "will be found by reconciliation" in line for line in plugin.logged if "study=" in line
    )
    redis.available = True
    stable(plugin, "c")
    wait_until(lambda: redis.accepted == ["c"])


def test_the_callback_does_not_wait_for_redis(plugin, redis, monkeypatch):
    """Orthanc holds Python's lock during the callback: an address that never answers must not
    block it."""
    answers = threading.Event()
    monkeypatch.setattr(plugin.script, "send", lambda *_: answers.wait(10))
    begun = time.monotonic()
    stable(plugin, *"abcdef")
    assert time.monotonic() - begun < 1
    answers.set()
    wait_until(lambda: sum("lumbar: sent" in line for line in plugin.logged) == 6)


def test_orthanc_stops_although_redis_does_not_answer(plugin, redis, monkeypatch):
    """It waits for a bounded time, and logs how many studies were not announced."""
    answers = threading.Event()
    monkeypatch.setattr(plugin.script, "STOP_WAIT_S", 0.1)
    monkeypatch.setattr(plugin.script, "send", lambda *_: answers.wait(10))
    stable(plugin, "a", "b")
    wait_until(lambda: plugin.script.arrived.qsize() == 1)
    plugin.on_change(plugin.change.ORTHANC_STOPPED, None, "")
    assert any("2 studies were not announced" in line for line in plugin.logged)
    answers.set()
    wait_until(lambda: not plugin.script.sender.is_alive())


def test_study_and_message_are_in_every_line_of_the_log(plugin, redis):
    """In the form of all logs: a study can be followed from Orthanc to its report."""
    stable(plugin, "s" * 44)
    redis.available = False
    stable(plugin, "t" * 44)
    wait_until(lambda: sum("study=" in line for line in plugin.logged) == 2)
    for line in plugin.logged:
        if "study=" in line:
            assert re.fullmatch(r"lumbar: .+ study=([st]{44}) message=([0-9a-f-]{36})", line)


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
    assert imported - set(sys.stdlib_module_names) <= {"orthanc", "kombu", "redis"}


def test_no_file_beside_the_script_hides_a_library():
    """Orthanc puts the script's folder first on Python's path."""
    assert {path.stem for path in SCRIPTS} == {"lumbar_plugin"}
