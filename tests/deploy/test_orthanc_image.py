"""What starts in Orthanc's container, run here as Debian's Python and shell run it there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.demo import process, stack

IMAGE = stack.ROOT / "deploy" / "images" / "orthanc"
NASTY = "a\"b\\c${HOME}$(id)'`x` // /* ü # %s"
"""What shells, JSON and Orthanc's own ${VARIABLE} would each make something else of."""

USERS = {
    "LUMBAR_USERNAME": "people",
    "LUMBAR_PASSWORD": NASTY,
    "LUMBAR_ORTHANC_USERNAME": "worker",
    "LUMBAR_ORTHANC_PASSWORD": f"{NASTY}2",
}
STUB = """#!/bin/sh
{ echo "$@"; env; } > "$STUB_SAW"
"""


def environment(*, path: str, variables: Mapping[str, str]) -> dict[str, str]:
    """What a process in the container sees, and nothing of this machine."""
    return {"PATH": path, "HOME": "/nonexistent", "LANG": "C.UTF-8", **variables}


@pytest.fixture
def start(tmp_path: Path):
    """Run the entrypoint with a stand-in for Orthanc; its result, and what Orthanc would see."""
    stub = tmp_path / "bin" / "Orthanc"
    stub.parent.mkdir()
    stub.write_text(STUB)
    stub.chmod(0o755)
    saw, target = tmp_path / "saw", tmp_path / "orthanc.json"

    def run(
        variables: Mapping[str, str], template: Path = stack.CONFIGURATION
    ) -> tuple[subprocess.CompletedProcess[str], Path, Path]:
        path = f"{stub.parent}:{process.SYSTEM_PATH}"
        done = subprocess.run(
            ["sh", IMAGE / "entrypoint.sh", template, target],
            env=environment(path=path, variables={**variables, "STUB_SAW": str(saw)}),
            capture_output=True,
            text=True,
            check=False,
        )
        return done, target, saw

    return run


def test_the_users_are_filled_in_and_nothing_else_changes(start):
    """Valid JSON with both users and any password, open to the other containers."""
    done, target, _ = start(USERS)
    assert done.returncode == 0, done.stderr
    written = stack.read_json_with_comments(target)
    assert written == stack.read_json_with_comments(stack.CONFIGURATION) | {
        "RegisteredUsers": {"people": NASTY, "worker": f"{NASTY}2"},
        "RemoteAccessAllowed": True,
    }
    assert written["AuthenticationEnabled"] is True


def test_only_orthanc_can_read_it_also_after_a_restart(start, tmp_path):
    """The file with the passwords is 0600, whatever its mode was before."""
    (tmp_path / "orthanc.json").touch(mode=0o644)
    _, target, _ = start(USERS)
    assert target.stat().st_mode & 0o777 == 0o600


def test_orthanc_gets_the_configuration_and_no_password(start):
    """Orthanc is given the file alone; plugins and Lua find no password in the environment."""
    _, target, saw = start(USERS)
    arguments, *variables = saw.read_text().splitlines()
    assert arguments == str(target)
    assert not any("PASSWORD" in line or 'a"b' in line for line in variables)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        *((({name: ""}), "set LUMBAR_") for name in USERS),
        ({"LUMBAR_ORTHANC_USERNAME": "people"}, "LUMBAR_ORTHANC_USERNAME must be"),
        ({"LUMBAR_USERNAME": "a:b"}, "LUMBAR_USERNAME must be"),
    ],
)
def test_without_users_of_their_own_orthanc_does_not_start(start, changed, message):
    """A missing, repeated or impossible user ends the container with a line that says which."""
    done, target, saw = start(USERS | changed)
    assert done.returncode == 2
    assert message in done.stderr
    assert NASTY not in done.stderr
    assert not target.exists()
    assert not saw.exists()


def test_a_template_with_users_of_its_own_is_refused(start, tmp_path):
    """Users written into orthanc.json are not silently dropped."""
    template = tmp_path / "template.json"
    template.write_text(stack.CONFIGURATION.read_text().replace(": {},", ': {"a": "b"},', 1))
    done, target, _ = start(USERS, template)
    assert done.returncode == 2
    assert '"RegisteredUsers": {}' in done.stderr
    assert not target.exists()


@pytest.fixture
def template(servers_installed, tmp_path: Path) -> Path:
    """The configuration with ports and folders of this machine, and without plugins."""
    changed = stack.read_json_with_comments(stack.CONFIGURATION) | {
        "StorageDirectory": str(tmp_path),
        "IndexDirectory": str(tmp_path),
        "Plugins": [],
        "PythonScript": "",
        "HttpPort": process.free_port(),
        "DicomPort": process.free_port(),
    }
    path = tmp_path / "template.json"
    path.write_text(json.dumps(changed, indent=2))
    return path


def test_orthanc_lets_in_who_knows_the_password_and_nobody_else(template, tmp_path):
    """A real Orthanc becomes healthy with the nasty password, and is not with another."""
    port = json.loads(template.read_text())["HttpPort"]

    def healthy(password: str = USERS["LUMBAR_ORTHANC_PASSWORD"]) -> bool:
        changed = USERS | {"LUMBAR_ORTHANC_PASSWORD": password}
        command = ["python3", IMAGE / "healthcheck.py", f"http://{process.LOOPBACK}:{port}"]
        variables = environment(path=process.SYSTEM_PATH, variables=changed)
        return subprocess.run(command, env=variables, capture_output=True).returncode == 0

    command = ["sh", str(IMAGE / "entrypoint.sh"), str(template), str(tmp_path / "orthanc.json")]
    variables = environment(path=process.SYSTEM_PATH, variables=USERS)
    with process.running("Orthanc", command, tmp_path / "orthanc.log", variables) as orthanc:
        orthanc.wait_until(healthy)
        assert not healthy("another")
    assert not healthy()
