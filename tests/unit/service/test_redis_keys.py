"""The keys of Redis and the scripts that use them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

import worker.service
from deploy.demo import stack
from worker.service.jobs import Priority
from worker.service.redis_keys import RedisKeys

SERVICE = Path(worker.service.__file__).parent
SCRIPTS = sorted((SERVICE / "lua").glob("*.lua"))


def all_keys() -> list[str]:
    """Every key of a queue, those of a study for one study."""
    keys = RedisKeys("q")
    names = set(vars(RedisKeys)) - {field.name for field in fields(RedisKeys)}
    members = [getattr(keys, name) for name in sorted(names) if not name.startswith("_")]
    plain = [member for member in members if isinstance(member, str)]
    of_study = [keys.lease("s"), keys.recovery("s"), keys.attempts("s"), keys.step("s")]
    return [*plain, *of_study, *(keys.messages(priority) for priority in Priority)]


def test_no_two_keys_are_equal():
    """Each holds one thing, and all begin with the name of the queue."""
    keys = all_keys()
    assert len(keys) > 15
    assert len(set(keys)) == len(keys)
    assert all(key.startswith("q") for key in keys)


def test_keys_are_built_in_one_module():
    """No other module of the service puts a key together."""
    for file in SERVICE.glob("*.py"):
        built = re.findall(r'f"\{[\w.]*queue\}:', file.read_text())
        assert not built or file.name == "redis_keys.py", file


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_documents_its_keys_and_arguments(script):
    """Each KEYS and ARGV that it uses is in its header comment."""
    lines = script.read_text().splitlines()
    header = "\n".join(line for line in lines if line.startswith("--"))
    body = "\n".join(line for line in lines if not line.startswith("--"))
    used = set(re.findall(r"(?:KEYS|ARGV)\[\d\]", body))
    assert used
    assert used == set(re.findall(r"(?:KEYS|ARGV)\[\d\]", header))


def test_scripts_are_packaged():
    """A wheel contains them."""
    project = tomllib.loads((stack.ROOT / "pyproject.toml").read_text())
    assert "service/lua/*.lua" in project["tool"]["setuptools"]["package-data"]["worker"]
