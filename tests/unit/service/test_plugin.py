"""The script that runs inside Orthanc, here with a stand-in for Orthanc's module."""

import ast
import importlib.util
import sys
import threading
import time
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

SCRIPT = Path(__file__).parents[3] / "orthanc" / "lumbar_plugin.py"


class ChangeType(Enum):
    STABLE_STUDY = 1
    NEW_INSTANCE = 2
    ORTHANC_STOPPED = 3


def wait_until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The loaded script, Orthanc's callback, what it logged; nothing leaves the process."""
    orthanc = ModuleType("orthanc")
    registered, logged = [], []
    orthanc.ChangeType = ChangeType
    orthanc.RegisterOnChangeCallback = registered.append
    orthanc.LogWarning = orthanc.LogError = logged.append
    monkeypatch.setitem(sys.modules, "orthanc", orthanc)
    spec = importlib.util.spec_from_file_location("lumbar_plugin", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "FIRST_WAIT_S", 0.01)
    yield SimpleNamespace(script=script, on_change=registered[0], logged=logged)
    registered[0](ChangeType.ORTHANC_STOPPED, None, "")
    assert not script.sender.is_alive()


def test_only_stable_studies_are_announced_in_order(plugin, monkeypatch):
    """Every stable study leads to one message in the order of arrival, nothing else to any."""
    sent = []
    monkeypatch.setattr(plugin.script, "send", sent.append)
    plugin.on_change(ChangeType.NEW_INSTANCE, None, "instance")
    for study in ("a", "b", "c"):
        plugin.on_change(ChangeType.STABLE_STUDY, None, study)
    wait_until(lambda: len(sent) == 3)
    assert sent == ["a", "b", "c"]


def test_redis_away_loses_nothing_and_blocks_nobody(plugin, monkeypatch):
    """While Redis fails the callback returns at once; afterwards every study is sent once."""
    sent, away = [], threading.Event()
    away.set()

    def send(study: str) -> None:
        if away.is_set():
            raise ConnectionError("away")
        sent.append(study)

    monkeypatch.setattr(plugin.script, "send", send)
    plugin.on_change(ChangeType.STABLE_STUDY, None, "a")
    wait_until(lambda: any("waits" in line for line in plugin.logged))
    plugin.on_change(ChangeType.STABLE_STUDY, None, "b")
    assert plugin.script.waiting.qsize() == 1
    away.clear()
    wait_until(lambda: len(sent) == 2)
    assert sent == ["a", "b"]


def test_stopping_while_redis_is_away_ends_the_thread_and_names_the_study(plugin, monkeypatch):
    """Orthanc can stop although Redis is away, and its log tells which study was not announced."""

    def send(_: str) -> None:
        raise ConnectionError("away")

    monkeypatch.setattr(plugin.script, "send", send)
    plugin.on_change(ChangeType.STABLE_STUDY, None, "a")
    wait_until(lambda: plugin.logged)
    plugin.on_change(ChangeType.ORTHANC_STOPPED, None, "")
    assert not plugin.script.sender.is_alive()
    assert any("a was not announced" in line for line in plugin.logged)


def test_script_names_its_licence_and_imports_nothing_of_ours():
    """A distributed script falls under the AGPL, so the Apache-2.0 part must stay apart."""
    text = SCRIPT.read_text()
    assert "SPDX-License-Identifier: AGPL-3.0-or-later" in text
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
        )
    }
    assert imported - set(sys.stdlib_module_names) == {"orthanc", "kombu"}


def test_no_file_beside_the_script_hides_a_library():
    """Orthanc puts the script's folder first on Python's path."""
    names = {path.stem for path in SCRIPT.parent.glob("*.py")}
    assert names == {"lumbar_plugin"}
