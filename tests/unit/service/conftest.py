"""The script that runs inside Orthanc, with a stand-in for Orthanc's module."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from types import ModuleType
from typing import Any

import pytest

from deploy.demo import stack


class ChangeType(Enum):
    STABLE_STUDY = 1
    NEW_INSTANCE = 2
    ORTHANC_STOPPED = 3


@dataclass
class Plugin:
    """The loaded script, what it registered with Orthanc and what it logged."""

    script: Any = None
    on_change: Callable[..., None] = lambda *_: None
    rest: dict[str, Callable[..., None]] = field(default_factory=dict)
    logged: list[str] = field(default_factory=list)
    change = ChangeType

    def stop(self) -> None:
        """As Orthanc stops."""
        self.on_change(ChangeType.ORTHANC_STOPPED, None, "")
        assert not self.script.sender.is_alive()


@pytest.fixture
def load_plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Plugin]]:
    """Loads the script as Orthanc does; nothing leaves the process."""
    loaded: list[Plugin] = []
    monkeypatch.syspath_prepend(str(stack.PLUGIN.parent))
    monkeypatch.setenv("LUMBAR_REDIS_URL", f"redis://{stack.LOOPBACK}:1/0")

    def load() -> Plugin:
        plugin = Plugin()
        orthanc = ModuleType("orthanc")
        orthanc.ChangeType = ChangeType
        orthanc.RegisterOnChangeCallback = lambda callback: setattr(plugin, "on_change", callback)
        orthanc.RegisterRestCallback = plugin.rest.__setitem__
        orthanc.ExtendOrthancExplorer = lambda _: None
        orthanc.LogWarning = orthanc.LogError = plugin.logged.append
        monkeypatch.setitem(sys.modules, "orthanc", orthanc)
        spec = importlib.util.spec_from_file_location("lumbar_plugin", stack.PLUGIN)
        plugin.script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(plugin.script)
        loaded.append(plugin)
        return plugin

    yield load
    for plugin in loaded:
        plugin.stop()


@pytest.fixture
def plugin(load_plugin: Callable[[], Plugin]) -> Plugin:
    """The script as it runs where no viewer is installed."""
    return load_plugin()
