"""The script that runs inside Orthanc, here with a stand-in for Orthanc's module."""

import ast
import sys
import threading
import time

import stack

SCRIPT = stack.PLUGIN


def wait_until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def test_only_stable_studies_are_announced_in_order(plugin, monkeypatch):
    """Every stable study leads to one message in the order of arrival, nothing else to any."""
    sent = []
    monkeypatch.setattr(plugin.script, "send", sent.append)
    plugin.on_change(plugin.change.NEW_INSTANCE, None, "instance")
    for study in ("a", "b", "c"):
        plugin.on_change(plugin.change.STABLE_STUDY, None, study)
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
    plugin.on_change(plugin.change.STABLE_STUDY, None, "a")
    wait_until(lambda: any("waits" in line for line in plugin.logged))
    plugin.on_change(plugin.change.STABLE_STUDY, None, "b")
    assert plugin.script.waiting.qsize() == 1
    away.clear()
    wait_until(lambda: len(sent) == 2)
    assert sent == ["a", "b"]


def test_stopping_while_redis_is_away_ends_the_thread_and_names_the_study(plugin, monkeypatch):
    """Orthanc can stop although Redis is away, and its log tells which study was not announced."""

    def send(_: str) -> None:
        raise ConnectionError("away")

    monkeypatch.setattr(plugin.script, "send", send)
    plugin.on_change(plugin.change.STABLE_STUDY, None, "a")
    wait_until(lambda: plugin.logged)
    plugin.on_change(plugin.change.ORTHANC_STOPPED, None, "")
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
